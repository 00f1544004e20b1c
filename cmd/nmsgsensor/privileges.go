package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// account is the user to become.
type account struct {
	name     string
	uid, gid int
}

// lookupAccount finds a user by name or number; root is none that helps.
func lookupAccount(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, errors.New("no such user; getent passwd lists them")
		}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if uid == 0 {
		return nil, errors.New("is root; give another user")
	}
	return &account{name, uid, gid}, nil
}

// become gives up root, its groups and all capabilities, for all threads and for
// good: no new privileges are to be had (prctl(2), PR_SET_NO_NEW_PRIVS). With
// keepRaw CAP_NET_RAW stays, with which interfaces can be opened again.
func (a *account) become(keepRaw bool) error {
	kept := cap.NewSet()
	if keepRaw {
		if err := errors.Join(kept.SetFlag(cap.Permitted, true, cap.NET_RAW), kept.SetFlag(cap.Effective, true, cap.NET_RAW)); err != nil {
			return err
		}
	}
	// The order matters: each step needs what a later one gives up. SetGroups
	// leaves nothing effective, which DropBound would need, and SetUID keeps what
	// is permitted, so that kept can be chosen from it.
	for _, step := range []func() error{
		dropBound,
		func() error { return cap.SetGroups(a.gid) },
		func() error { return cap.SetUID(a.uid) },
		kept.SetProc,
		func() error {
			if _, _, errno := psx.Syscall6(syscall.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
				return errno
			}
			return nil
		},
	} {
		if err := step(); err != nil {
			return fmt.Errorf("become user %s: %w; -U needs root", a.name, err)
		}
	}
	return nil
}

// dropBound leaves nothing that a program could be started with.
func dropBound() error {
	var all []cap.Value
	for v := range cap.MaxBits() {
		all = append(all, v)
	}
	return cap.DropBound(all...)
}

// mayWrite says now what an output file would say at its first payload: that
// this user may not write it, or create it.
func (s *sensor) mayWrite() error {
	for _, name := range s.opt.files() {
		where := name
		if _, err := os.Stat(name); err != nil || s.opt.rotation != nil {
			where = filepath.Dir(name)
		}
		if err := unix.Access(where, unix.W_OK); err != nil {
			return fmt.Errorf("write %s: user %s may not write %s: %w", name, s.opt.user.name, where, err)
		}
	}
	return nil
}
