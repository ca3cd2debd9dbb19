//go:build !unix

package pgtest

import (
	"errors"
	"syscall"
)

// owner is the user that the cluster runs as.
type owner struct{}

func findOwner() (*owner, error) {
	return nil, errors.New("a throwaway PostgreSQL is started on Unix systems only: set " + Env + " to the DSN of a server on which databases may be created")
}

func (o *owner) String() string { return "this user" }

func (o *owner) sysProcAttr() *syscall.SysProcAttr { return nil }

func (o *owner) canUse(string) bool { return true }

func (o *owner) take(string) error { return nil }
