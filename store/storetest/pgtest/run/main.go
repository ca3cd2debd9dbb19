// Command run starts a throwaway PostgreSQL cluster, runs a command with IDPSYNC_TEST_POSTGRES naming it, and stops
// it again. It exits with the command's status.
//
//	go run ./store/storetest/pgtest/run -- go test ./...
//
// Where IDPSYNC_TEST_POSTGRES is set already, the command runs with that server. With -check it only tells whether there
// is a PostgreSQL to use, and what to install otherwise; with -check-pooler, whether there is a PgBouncer.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest/run:", err)
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 64, errors.New("usage: run -- COMMAND [ARGUMENT...]")
	}
	if args[0] == "-check" {
		if err := pgtest.Installed(); err != nil {
			return 1, err
		}
		return 0, nil
	}
	if args[0] == "-check-pooler" {
		if err := pgtest.PoolerInstalled(); err != nil {
			return 1, err
		}
		return 0, nil
	}
	env := os.Environ()
	if os.Getenv(pgtest.Env) == "" {
		began := time.Now()
		cluster, err := pgtest.Start()
		if err != nil {
			return 1, err
		}
		defer func() {
			if stopErr := cluster.Stop(); stopErr != nil {
				status, err = max(status, 1), stopErr
			}
		}()
		fmt.Fprintf(os.Stderr, "PostgreSQL started in %s\n", time.Since(began).Round(time.Millisecond))
		env = append(env, pgtest.Env+"="+cluster.DSN())
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// An interrupt from the terminal reaches the command as well: wait for its end, then stop the cluster. A
	// termination is for this process alone and is passed on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGTERM {
					_ = cmd.Process.Signal(s) // it may have ended by now
				}
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
