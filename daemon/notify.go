package daemon

import (
	"log/slog"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// A notifier tells the service manager how things are (sd_notify(3)); without
// one it does nothing.
type notifier struct {
	log      *slog.Logger
	tell     func(state string) error
	watchdog time.Duration // the manager's limit; 0 without
	fed      time.Time
	said     string
}

func newNotifier(log *slog.Logger) notifier {
	limit, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog not used", "err", err.Error())
	}
	tell := func(state string) error {
		_, err := sd.SdNotify(false, state)
		return err
	}
	return notifier{log: log, tell: tell, watchdog: limit}
}

func (n *notifier) send(state string) {
	if err := n.tell(state); err != nil {
		n.log.Warn("service manager not told", "state", state, "err", err.Error())
	}
}

func (n *notifier) ready()    { n.send(sd.SdNotifyReady) }
func (n *notifier) stopping() { n.send(sd.SdNotifyStopping) }

// reloading needs the time, by which the manager knows which reload is meant.
func (n *notifier) reloading() { n.send(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()) }

// status says a sentence if it differs from the last one.
func (n *notifier) status(text string) {
	text = strings.ReplaceAll(text, "\n", "; ")
	if text == n.said {
		return
	}
	n.said = text
	n.send("STATUS=" + text)
}

// feed keeps the watchdog quiet. Only the loop calls it, and only while it and
// the pass are well: a daemon that hangs is started anew.
func (n *notifier) feed(now time.Time) {
	if n.watchdog == 0 || !n.fed.IsZero() && now.Sub(n.fed) < n.watchdog/4 {
		return
	}
	n.fed = now
	n.send(sd.SdNotifyWatchdog)
}

// atMost is d, or less if the watchdog has to be fed before.
func (n *notifier) atMost(d time.Duration) time.Duration {
	if n.watchdog == 0 {
		return d
	}
	return min(d, n.watchdog/4)
}
