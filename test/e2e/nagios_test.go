package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"certd/acme/acmetest"
	"certd/test/ports"
)

// monitoredSite is a site that the user of a monitoring server can look into,
// with one certificate.
func monitoredSite(t *testing.T) (s *site, who string) {
	t.Helper()
	s = pebbleSite(t, acmetest.StartT(t, acmetest.Options{}))
	s.must(0, "want", "www.example.test")
	for _, dir := range []string{s.dir, filepath.Dir(s.dir), filepath.Dir(certdPath)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if self.Uid == "0" {
		return s, "nagios" // the Debian packages make it, and the servers become it
	}
	return s, self.Username
}

// background runs a server in the foreground until the test ends.
func (s *site) background(name string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Dir = s.dir
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s said: %s", name, log.String())
		}
	})
}

const nagiosCfg = `cfg_file=%[1]s/objects.cfg
log_file=%[1]s/nagios.log
object_cache_file=%[1]s/objects.cache
precached_object_file=%[1]s/objects.precache
status_file=%[1]s/status.dat
command_file=%[1]s/nagios.cmd
query_socket=%[1]s/nagios.qh
lock_file=%[1]s/nagios.lock
temp_file=%[1]s/nagios.tmp
temp_path=%[1]s
check_result_path=%[1]s
log_archive_path=%[1]s
state_retention_file=%[1]s/retention.dat
nagios_user=%[2]s
nagios_group=%[2]s
status_update_interval=1
interval_length=1
check_external_commands=0
retain_state_information=0
enable_notifications=0
enable_flap_detection=0
event_broker_options=0
use_syslog=0
log_rotation_method=n
`

const nagiosObjects = `define timeperiod {
	timeperiod_name always
	alias always
	monday 00:00-24:00
	tuesday 00:00-24:00
	wednesday 00:00-24:00
	thursday 00:00-24:00
	friday 00:00-24:00
	saturday 00:00-24:00
	sunday 00:00-24:00
}
define command {
	command_name check_certd
	command_line %[1]s check --state %[2]s -w 25%% -c 10%%
}
define contact {
	contact_name nobody
	host_notification_period always
	service_notification_period always
	host_notification_commands check_certd
	service_notification_commands check_certd
}
define host {
	host_name here
	address 127.0.0.1
	max_check_attempts 1
	check_period always
	contacts nobody
	notification_period always
}
define service {
	host_name here
	service_description certificates
	check_command check_certd
	max_check_attempts 1
	check_interval 1
	retry_interval 1
	check_period always
	contacts nobody
	notification_period always
}
`

// TestNagios: nagios4 runs the plugin as its own user, who can read no key, and
// shows its state, text and perfdata, first good and then bad.
func TestNagios(t *testing.T) {
	t.Parallel()
	nagios := needProgram(t, "nagios4")
	s, who := monitoredSite(t)
	dir := filepath.Join(s.dir, "nagios")
	s.write("nagios/nagios.cfg", fmt.Sprintf(nagiosCfg, dir, who))
	s.write("nagios/objects.cfg", fmt.Sprintf(nagiosObjects, certdPath, s.state))
	giveTo(t, dir, who)
	s.background(nagios, filepath.Join(dir, "nagios.cfg"))
	shows := func(state, text string) func() bool {
		return func() bool {
			service := nagiosService(dir)
			return service["current_state"] == state && strings.Contains(service["plugin_output"], text)
		}
	}
	waitFor(t, "nagios shows that all is well", shows("0", "CERTD OK: 1 name, the first to expire is www.example.test in "))
	perfdata := nagiosService(dir)["performance_data"]
	for _, want := range []string{"soonest=", "ready=1;;;0", "expired=0;;0;0", "hooks_pending=0"} {
		if !strings.Contains(perfdata, want) {
			t.Errorf("nagios has the performance data %q, without %q", perfdata, want)
		}
	}
	s.write("acme/desired/missing.example.test", "")
	waitFor(t, "nagios shows that a certificate is missing", shows("2", "CERTD CRITICAL: missing.example.test has no certificate"))
	if err := os.Remove(filepath.Join(s.state, "desired", "missing.example.test")); err != nil {
		t.Fatal(err)
	}
	s.write("acme/desired/broken", "satisfy: [")
	waitFor(t, "nagios shows a warning", shows("1", "CERTD WARNING: a target is not worked on: desired/broken"))
	if err := os.Chmod(filepath.Join(s.state, "live"), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		waitFor(t, "nagios shows that the state is unreadable", shows("3", "CERTD UNKNOWN: "))
	}
}

// nagiosService returns what nagios says of the only service.
func nagiosService(dir string) map[string]string {
	data, _ := os.ReadFile(filepath.Join(dir, "status.dat")) // not there yet is nothing said yet
	_, block, _ := strings.Cut(string(data), "servicestatus {")
	block, _, _ = strings.Cut(block, "\t}")
	said := map[string]string{}
	for line := range strings.Lines(block) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[key] = value
	}
	return said
}

// giveTo makes a directory and its files somebody's, as far as we may.
func giveTo(t *testing.T, dir, who string) {
	t.Helper()
	u, err := user.Lookup(who)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// TestNRPE: the exit code and the line pass through NRPE as they are.
func TestNRPE(t *testing.T) {
	t.Parallel()
	nrpe := needProgram(t, "nrpe")
	client := needProgram(t, "/usr/lib/nagios/plugins/check_nrpe")
	s, who := monitoredSite(t)
	port := strconv.Itoa(ports.Free(t))
	s.write("nrpe/nrpe.cfg", fmt.Sprintf(`server_address=127.0.0.1
server_port=%[1]s
nrpe_user=%[2]s
nrpe_group=%[2]s
allowed_hosts=127.0.0.1
dont_blame_nrpe=0
command_timeout=60
pid_file=%[3]s/nrpe.pid
command[check_certd]=%[4]s check --state %[5]s
command[check_nobody]=%[4]s check --state %[5]s nobody.example.test
command[check_usage]=%[4]s check --state %[5]s -w soon
`, port, who, filepath.Join(s.dir, "nrpe"), certdPath, s.state))
	giveTo(t, filepath.Join(s.dir, "nrpe"), who)
	s.background(nrpe, "-c", filepath.Join(s.dir, "nrpe", "nrpe.cfg"), "-f", "-n")
	ask := func(command string) (code int, out string) {
		cmd := exec.CommandContext(t.Context(), client, "-H", "127.0.0.1", "-p", port, "-n", "-t", "60", "-c", command)
		data, _ := cmd.Output() // its exit code is what we look at
		return cmd.ProcessState.ExitCode(), string(data)
	}
	waitFor(t, "NRPE answers", func() bool { _, out := ask("check_certd"); return strings.Contains(out, "CERTD") })
	for _, c := range []struct {
		command string
		code    int
		says    string
	}{
		{"check_certd", 0, "CERTD OK: 1 name, "},
		{"check_nobody", 2, "CERTD CRITICAL: nobody.example.test is neither wanted nor in live/"},
		{"check_usage", 3, "CERTD UNKNOWN: -w soon: want a share"},
	} {
		if code, out := ask(c.command); code != c.code || !strings.HasPrefix(out, c.says) {
			t.Errorf("%s through NRPE: exit %d, want %d; it said %q, want %q first", c.command, code, c.code, out, c.says)
		}
	}
}
