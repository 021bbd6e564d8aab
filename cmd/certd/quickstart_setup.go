package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"certd/acme"
	"certd/config"
	"certd/daemon"
	"certd/hooks"
	"certd/state"
)

// A setup is what quickstart finds and what it decides. Nothing is written
// before all of it is decided.
type setup struct {
	// What there is.
	image    image // what is set up, if not this machine
	store    *state.Store
	settings *config.Settings
	present  *config.Target // conf/target
	old      responses      // of conf/responses
	hookDir  string         // where hooks are installed: the first of hookDirs
	hookDirs []string       // where hooks are run from
	servers  []string       // programs that serve certificates: they run here, or are installed in the image
	services services
	expert   bool

	dnsHelper string // path of certd-dns; empty if it is not installed

	// What has been decided.
	answers   responses       // by question; one that was not asked has no entry
	ca        config.CA       // as it shall be in conf/certd.yaml
	custom    bool            // a CA with a URL of its own, not yet in conf/certd.yaml
	untrusted bool            // its TLS certificate is from nobody this machine knows
	account   bool            // we have an account there
	agreed    string          // URL of the terms that were agreed to for it; empty if not known
	directory *acme.Directory // nil until the CA could be asked
	dnsAbout  string          // what certd-dns says about the provider that was chosen
	userAgent string
}

// newSetup reads what there is; a mistake in conf/ has to be put right first.
func (a *app) newSetup(root string, expert bool) (*setup, error) {
	var hookDirs []string // units name them only if they are not where certd looks anyway
	if !slices.Equal(a.hookDirs, hooks.DefaultDirs("")) {
		hookDirs = a.hookDirs
	}
	a.stateDir, a.hookDirs = image(root).dirs(a.stateDir, a.hookDirs)
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	if err := writable(store.Dir()); err != nil {
		return nil, err
	}
	s := &setup{image: image(root), store: store, expert: expert, hookDir: a.hookDirs[0], hookDirs: a.hookDirs, answers: responses{},
		userAgent: "certd/" + version, dnsHelper: findDNSHelper(), services: findServices(root, store.Dir(), hookDirs)}
	if root == "" {
		s.servers = runningServers("/proc")
	} else {
		s.servers = s.image.servers()
	}
	if s.settings, err = config.LoadSettings(store.Dir()); err != nil {
		return nil, &daemon.ConfigError{Err: err}
	}
	targets, err := config.LoadTargets(store.Dir())
	if err != nil {
		return nil, &daemon.ConfigError{Err: err}
	}
	s.present = targets.Default
	if s.old, err = readResponses(store.Path("conf", "responses"), true); err != nil {
		return nil, err
	}
	return s, nil
}

// writable says no in time to who may not write to the state directory, or make it.
func writable(dir string) error {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if err == nil {
			return nil
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return fmt.Errorf("quickstart: write to %s: %w; run it as root, or with a --state directory of your own", dir, err)
	}
}

// presentCA is the name of the CA that targets use now.
func (s *setup) presentCA() string {
	name := ""
	if len(s.present.CAs) > 0 {
		name = s.present.CAs[0]
	}
	ca, err := s.settings.CA(name)
	if err != nil {
		return "letsencrypt"
	}
	if _, err := s.settings.CA(ca.Name); err != nil {
		return ca.Directory // conf/target has a URL that nobody has named
	}
	return ca.Name
}

// meet asks a CA for its directory. A CA whose TLS certificate is not trusted is
// no error if it has a URL of its own: the next question is for its roots.
func (s *setup) meet(ctx context.Context, ca config.CA) error {
	s.ca, s.directory, s.untrusted, s.account, s.agreed = ca, nil, false, false, ""
	roots, err := s.image.ca(ca).RootsPEM()
	if err != nil {
		return err
	}
	client, err := acme.New(acme.Options{Name: ca.Name, Directory: ca.Directory, RootsPEM: roots, UserAgent: s.userAgent, Timeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	directory, err := client.Directory(ctx)
	if err != nil && isUntrusted(err) && s.custom && ca.Bundle == "" {
		s.untrusted = true
		return nil
	}
	if err != nil {
		return err
	}
	s.directory = directory
	if file := os.Getenv("SSL_CERT_FILE"); s.custom && ca.Bundle == "" && filepath.IsAbs(file) {
		s.ca.Bundle = s.image.inside(file) // what runs by itself will not have this environment
	}
	account, err := s.store.Account(ca.Directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.account = account != nil && account.URL != ""
	if s.account {
		s.agreed = account.Terms
	}
	return nil
}

// newTerms reports whether the CA has other terms of service than those that
// were agreed to for the account there is.
func (s *setup) newTerms() bool {
	return s.account && s.agreed != "" && s.directory != nil && s.directory.Terms != "" && s.directory.Terms != s.agreed
}

// describe says what a CA's directory says.
func (s *setup) describe() string {
	if s.directory == nil {
		return ""
	}
	text := fmt.Sprintf("%s answers at %s.", s.ca.Name, s.ca.Directory)
	if s.directory.Terms != "" {
		text += " Terms of service: " + acme.Sanitize(s.directory.Terms) + "."
	}
	if names := s.profiles(); len(names) > 0 {
		text += " Profiles: " + join(names) + "."
	}
	if s.directory.EABRequired {
		text += " It wants an external account binding (EAB)."
	}
	if s.account {
		text += " There is an account at this CA already; it will be used."
	}
	return text
}
