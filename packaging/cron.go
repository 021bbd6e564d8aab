package packaging

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// CronLine is what a user who is not root adds to a crontab (crontab -e): the
// line of /etc/cron.d/certd without its user.
func CronLine(o Options) (string, error) {
	if err := o.check(); err != nil {
		return "", fmt.Errorf("make crontab line: %w", err)
	}
	return fmt.Sprintf("%s %s --batch --log-level warn reconcile >/dev/null", o.when(), o.command()), nil
}

// when is every six hours, at a minute that looks random and stays the same.
func (o Options) when() string {
	seed := o.Seed
	for _, file := range []string{"/etc/machine-id", "/etc/hostname"} {
		if seed == "" {
			data, _ := readStart(filepath.Join("/", o.Root, file), 256) // missing: the next
			seed = strings.TrimSpace(string(data))
		}
	}
	h := fnv.New32a()
	io.WriteString(h, "certd "+seed)
	slot := h.Sum32() % 360
	hour := slot / 60
	return fmt.Sprintf("%d %d,%d,%d,%d * * *", slot%60, hour, hour+6, hour+12, hour+18)
}

// readStart reads up to n bytes of a regular file.
func readStart(name string, n int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
