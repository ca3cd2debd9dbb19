package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idpsync/idpsync/store"
)

var leaseCases = []namedCase{
	{"held by one, renewed and released", holdLease},
	{"an expired lease is taken over, its epoch fenced off", takeOver},
	{"of many, one gets it", raceForLease},
	{"a fenced transaction ends before the lease is taken", fenceHolds},
}

const ttl = time.Minute

func (f *fixture) acquire(holder string, ttl time.Duration) store.Lease {
	f.Helper()
	lease, err := f.s.AcquireLease(f.ctx, "okta", holder, ttl)
	f.check(err)
	return lease
}

func (f *fixture) fence(lease store.Lease) error {
	return f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.Fence(f.ctx, lease) })
}

func holdLease(f *fixture) {
	a := f.acquire("a", ttl)
	if a.Epoch != 1 || a.Name != "okta" || a.Holder != "a" {
		f.Errorf("AcquireLease = %+v", a)
	}
	for _, holder := range []string{"a", "b"} {
		_, err := f.s.AcquireLease(f.ctx, "okta", holder, ttl)
		f.isErr("AcquireLease of "+holder, err, store.ErrBusy)
	}
	if _, err := f.s.AcquireLease(f.ctx, "entra", "b", ttl); err != nil {
		f.Errorf("AcquireLease of another: %v", err)
	}
	f.check(f.fence(a))
	f.check(f.fence(store.Lease{}))
	f.check(f.s.RenewLease(f.ctx, a, ttl))
	f.check(f.s.ReleaseLease(f.ctx, a))
	b := f.acquire("b", ttl)
	if b.Epoch != 2 {
		f.Errorf("epoch = %d, want 2", b.Epoch)
	}
	f.isErr("Fence", f.fence(a), store.ErrLeaseLost)
	f.isErr("RenewLease", f.s.RenewLease(f.ctx, a, ttl), store.ErrLeaseLost)
	f.check(f.s.ReleaseLease(f.ctx, a)) // is nobody's business any more
	_, err := f.s.AcquireLease(f.ctx, "okta", "c", ttl)
	f.isErr("AcquireLease after the old holder's release", err, store.ErrBusy)
	f.isErr("Fence with another's epoch", f.fence(store.Lease{Name: "okta", Holder: "b", Epoch: 1}), store.ErrLeaseLost)
	f.isErr("Fence of an unknown lease", f.fence(store.Lease{Name: "x", Holder: "b", Epoch: 1}), store.ErrLeaseLost)
}

func takeOver(f *fixture) {
	a := f.acquire("a", -time.Second)
	f.check(f.fence(a)) // expired, and nobody else's
	b := f.acquire("b", ttl)
	if b.Epoch != a.Epoch+1 {
		f.Errorf("epoch = %d after %d", b.Epoch, a.Epoch)
	}
	f.isErr("Fence", f.fence(a), store.ErrLeaseLost)
	f.check(f.fence(b))
}

func raceForLease(f *fixture) {
	f.acquire("old", -time.Second)
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := f.s.AcquireLease(f.ctx, "okta", "x", ttl); {
			case err == nil:
				got.Add(1)
			case !errors.Is(err, store.ErrBusy):
				f.Errorf("AcquireLease: %v", err)
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n != 1 {
		f.Errorf("%d got the lease, want 1", n)
	}
}

func fenceHolds(f *fixture) {
	lease := f.acquire("a", -time.Second) // expired: only the fence stands in the way
	var committing atomic.Bool
	taken := make(chan bool, 1)
	f.tx(func(tx *store.Tx) error {
		if err := tx.Fence(f.ctx, lease); err != nil {
			return err
		}
		go func() {
			_, err := f.s.AcquireLease(context.WithoutCancel(f.ctx), "okta", "b", ttl)
			taken <- err == nil && committing.Load()
		}()
		time.Sleep(50 * time.Millisecond) // time for the other to get through, if nothing holds it
		committing.Store(true)
		return nil
	})
	if !<-taken {
		f.Error("the lease was taken while a transaction was fenced with it")
	}
}

var stateCases = []namedCase{
	{"remembered between runs", connectorState},
	{"one claim of a slot wins", claimSlot},
}

func connectorState(f *fixture) {
	read := func(want store.ConnectorState) {
		f.Helper()
		got, err := f.s.ConnectorState(f.ctx, "okta")
		f.check(err)
		f.equal("ConnectorState", got, want)
	}
	read(store.ConnectorState{Connector: "okta"})
	want := store.ConnectorState{Connector: "okta", Checkpoint: `{"since":"ü'"}`, CheckpointRunID: "r1", LastRunID: "r1", LastSuccess: epoch, LastFull: at(time.Second)}
	f.check(f.s.FinishConnectorRun(f.ctx, want))
	read(want)
	f.check(f.s.FinishConnectorRun(f.ctx, store.ConnectorState{Connector: "okta", LastRunID: "r2", LastSuccess: at(time.Hour)}))
	want.LastRunID, want.LastSuccess = "r2", at(time.Hour) // without a checkpoint the old one stays
	read(want)
	if claimed, err := f.s.ClaimSlot(f.ctx, "okta", epoch); err != nil || !claimed {
		f.Errorf("ClaimSlot = %v, %v", claimed, err)
	}
	want.LastSlot = epoch
	read(want)
	want.Quarantine = store.Quarantine{Failures: 3, Since: epoch, NextTry: at(time.Hour), Failure: "status 500, ü'", Paused: true}
	f.check(f.s.PutQuarantine(f.ctx, "okta", want.Quarantine))
	read(want)
	f.check(f.s.FinishConnectorRun(f.ctx, store.ConnectorState{Connector: "okta", LastRunID: "r2"}))
	read(want)
	want.Quarantine = store.Quarantine{}
	f.check(f.s.PutQuarantine(f.ctx, "okta", want.Quarantine))
	read(want)
	f.check(f.s.PutQuarantine(f.ctx, "entra", store.Quarantine{Failures: 1})) // one that never ran to its end
}

func claimSlot(f *fixture) {
	var wg sync.WaitGroup
	for slot := range 3 {
		var won atomic.Int32
		for range 10 {
			wg.Go(func() {
				claimed, err := f.s.ClaimSlot(f.ctx, "okta", at(time.Duration(slot)*time.Minute))
				if err != nil {
					f.Errorf("ClaimSlot: %v", err)
				}
				if claimed {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			f.Errorf("slot %d was claimed %d times", slot, won.Load())
		}
	}
	claimed, err := f.s.ClaimSlot(f.ctx, "okta", at(time.Minute))
	f.check(err)
	if claimed {
		f.Error("an older slot was claimed after a newer one")
	}
}
