package challenge

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bindPause is the wait between two tries for an address that is in use.
const bindPause = 250 * time.Millisecond

// BindBeside is Bind for a process that moves from one address to another: own
// are its listeners that will be closed then, and until then are in the way of an
// address that overlaps theirs, such as ":80" and "127.0.0.1:80". Both are open
// when it returns, so that nothing is given up for an address that cannot be had.
// Other processes are in the way as ever, and find the port taken.
func BindBeside(ctx context.Context, addr string, own ...net.Listener) (net.Listener, error) {
	ln, err := Bind(ctx, addr)
	if !errors.Is(err, syscall.EADDRINUSE) || len(own) == 0 {
		return ln, err
	}
	for _, o := range own {
		if sharePort(o, 1) == nil {
			defer sharePort(o, 0) // it is closed soon anyway
		}
	}
	shared, e := bind(ctx, addr, net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setShared(c, 1) }})
	if e != nil {
		return nil, err
	}
	if err := sharePort(shared, 0); err != nil {
		return nil, errors.Join(err, shared.Close())
	}
	return shared, nil
}

// sharePort says whether another socket of this user may listen on the port of
// ln as well, if it says so, too (SO_REUSEPORT).
func sharePort(ln net.Listener, value int) error {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return setShared(raw, value)
}

func setShared(c syscall.RawConn, value int) (err error) {
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
	}), err)
}

// WhileInUse calls bind until it does something else than find an address in
// use, for at most wait: at the start, who had the address before may not be gone
// yet. say is called once if that is so.
func WhileInUse(ctx context.Context, wait time.Duration, say func(error), bind func() error) error {
	deadline := time.Now().Add(wait)
	for said := false; ; said = true {
		err := bind()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Until(deadline) <= 0 {
			return err
		}
		if !said {
			say(err)
		}
		timer := time.NewTimer(bindPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
