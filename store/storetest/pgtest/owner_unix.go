//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the user that the cluster runs as; nil is the user of this process.
type owner struct {
	name     string
	uid, gid int
}

// findOwner returns nil, or for root the user whose rights the cluster gets.
func findOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return &owner{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as: run the tests as another user")
}

func (o *owner) String() string {
	if o == nil {
		return "this user"
	}
	return fmt.Sprintf("the user %s", o.name)
}

func (o *owner) sysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return attr
}

// canUse tells whether o can reach base and may create and remove what is its own there.
func (o *owner) canUse(base string) bool {
	base, err := filepath.Abs(base)
	if err != nil {
		return false
	}
	info, err := os.Stat(base)
	if err != nil || !info.IsDir() {
		return false
	}
	if o == nil {
		return true // MkdirTemp finds out
	}
	if info.Mode().Perm()&0o003 != 0o003 {
		return false
	}
	for dir := filepath.Dir(base); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func (o *owner) take(dir string) error {
	if o == nil {
		return nil
	}
	return os.Chown(dir, o.uid, o.gid)
}
