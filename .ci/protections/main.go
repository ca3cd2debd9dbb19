// Command protections takes the program's protections away, one at a time, in a copy of the module, and sees that a test
// notices each: a protection that no test misses may be lost by accident. It fails where a test passes all the same, and
// where the text to change is not found any more.
//
//	make protections
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// protection is something that keeps harm away, how to take it out, and which test must miss it.
type protection struct {
	name     string
	file     string
	old, new string // every occurrence of old is replaced
	pkg      string
	test     string // a regular expression
}

var protections = []protection{
	{
		"an operator's key follows no redirection",
		"cmd/internal/cli/server.go", "return http.ErrUseLastResponse", "return nil",
		"./cmd/internal/cli", "TestServer_Answers",
	},
	{
		"an operator's key crosses no network in the clear",
		"cmd/internal/cli/server.go", "case u.Scheme == \"http\" && !loopback(u.Hostname()):", "case false:",
		"./cmd/internal/cli", "TestServer_Refused",
	},
	{
		"what changes something is sent once",
		"cmd/internal/cli/server.go", "r.Method != http.MethodGet || ", "",
		"./cmd/internal/cli", "TestServer_Waits",
	},
	{
		"an event that was altered is not verified",
		"store/chain/walk.go", "if computed != e.Hash {", "if computed != e.Hash && false {",
		"./store", "TestSQLite/audit_chain",
	},
	{
		"an event that is neither sealed nor waiting is found",
		"store/verify.go", "if verdict.Events != verdict.Head.Count+verdict.Unsealed {", "if false {",
		"./store", "TestSQLite/audit_chain",
	},
	{
		"a line of an export that was altered is not verified",
		"store/chain/file.go", "if Next(prev, canonical) != hash {", "if Next(prev, canonical) != hash && false {",
		"./store/chain", "TestVerifyFile",
	},
	{
		"the database refuses to delete events",
		"store/migrations/sqlite/00013_audit_chain.sql", "CREATE TRIGGER audit_events_deleted BEFORE DELETE ON audit_events FOR EACH ROW", "CREATE TRIGGER audit_events_deleted BEFORE DELETE ON audit_events FOR EACH ROW WHEN FALSE",
		"./store", "TestSQLite/audit_chain",
	},
	{
		"a plan that somebody asks for tells nobody of drift",
		"reconcile/tell.go", "if w.req.DryRun {", "if false {",
		"./reconcile", "TestRun_TellsOfDriftThatIsOnlyReportedOnce",
	},
	{
		"how far a run has come does not bring one back to life that was ended",
		"store/run.go", "UPDATE runs SET counts = ?, requests = ? WHERE id = ? AND status = ?\", string(counts), run.Requests, run.ID, string(identity.RunRunning)", "UPDATE runs SET counts = ?, requests = ? WHERE id = ?\", string(counts), run.Requests, run.ID",
		"./reconcile", "TestRun_ShowsItsProgress",
	},
	{
		"what is typed into the guide names no variable of the environment",
		"cmd/internal/console/start.go", "strings.ReplaceAll(value, \"$\", \"$$\")", "value",
		"./cmd/internal/console", "TestStart_",
	},
	{
		"a plan that changed is not approved from the page of the old one",
		"cmd/internal/console/run.go", "page.Later = connector.Held", "page.Later = \"\"",
		"./cmd/internal/console", "TestRun_Held",
	},
	{
		"a listing that is not proven complete removes nobody",
		"reconcile/work.go", "w.complete[part.Phase] = false", "w.complete[part.Phase] = true",
		"./reconcile", "TestRun_IncompletePhasesRemoveNothing",
	},
	{
		"whoever seems absent is read by id first",
		"reconcile/apply.go", "if found.keep {", "if found.keep = false; found.keep {",
		"./reconcile", "TestRun_AbsenceIsVerifiedById|TestRun_AbsentGroupsAreVerifiedById",
	},
	{
		"the guard holds removals that are too many",
		"reconcile/apply.go", "if !verdict.Held() {", "if verdict = nil; !verdict.Held() {",
		"./reconcile", "TestRun_GuardHoldsRemovalsAndLetsTheRestGoOn|TestRun_EmptySourceIsHeld",
	},
	{
		"a transaction of a run that lost its lease writes nothing",
		"store/lease.go", "if len(rows) == 0 {\n\t\treturn ErrLeaseLost", "if len(rows) == 0 {\n\t\treturn nil",
		"./reconcile/lifecycle", "TestApply_LeaseLostStopsEverything",
	},
	{
		"a lease is not taken while somebody holds it",
		"store/lease.go", "\"WHERE leases.expires_at < ? RETURNING epoch\"", "\"WHERE leases.expires_at < ? OR TRUE RETURNING epoch\"",
		"./store", "TestSQLite/leases",
	},
	{
		"a process that is paused in a transaction does not keep the lease for ever",
		"store/lease.go", "if tx.d.postgres() && l.TTL > 0 {", "if false {",
		"./cmd/internal/cli", "TestChaos_Paused$",
	},
	{
		"what was pushed after the read began is not undone",
		"reconcile/lifecycle/pull.go", "case !lastPush.IsZero() && !c.ReadAt.After(lastPush):", "case false:",
		"./reconcile/...", "TestApply_OvertakenChangesAreSkipped|PushDuringPullIsNotUndone",
	},
	{
		"a row that changed since it was planned with is left alone",
		"reconcile/lifecycle/pull.go", "case version != c.Version:", "case false:",
		"./reconcile/lifecycle", "TestApply_OvertakenChangesAreSkipped",
	},
	{
		"Retry-After is waited out",
		"connectors/transport.go", "value := h.Get(\"Retry-After\")", "value := h.Get(\"X-No-Such-Header\")",
		"./connectors/...", "Retry|429|Throttl|TestPace|TestTransport|TestFaults",
	},
	{
		"a page without a self link proves no end",
		"connectors/okta/request.go", "if _, self := links[\"self\"]; !self && !more && !l.unpaged {", "if false {",
		"./connectors/okta", "TestFaults|TestLostNextLinksShow",
	},
	{
		"a failed run does not move the checkpoint",
		"reconcile/changes.go", "\t\t\tw.checkpoint = \"\"\n\t\t\tw.incomplete(err.Error())", "\t\t\tw.checkpoint += \"9\"\n\t\t\tw.incomplete(err.Error())",
		"./reconcile", "TestIncremental_AFailedPhaseMovesNoCheckpoint",
	},
	{
		"what an earlier run left undone is looked at again",
		"store/unsettled.go", "if checkpointRunID == \"\" {", "if checkpointRunID != \"none\" {",
		"./reconcile", "TestIncremental_KeepsAtWhatWasLeftUndone|TestIncremental_TheGuardHoldsAndTheNextRunLooksAgain",
	},
	{
		"what was changed here is found as drift",
		"store/migrations/sqlite/00001_init.sql", "UPDATE users SET fingerprint = NULL WHERE seq = NEW.seq;", "UPDATE users SET fingerprint = fingerprint WHERE seq = NEW.seq;",
		"./reconcile", "TestRun_RepairsTamperedRowsOfEveryKind|TestIncremental_FindsWhatWasChangedHere",
	},
	{
		"a slot is claimed once",
		"store/state.go", "connector_states.last_slot_at < excluded.last_slot_at", "connector_states.last_slot_at <= excluded.last_slot_at",
		"./store", "TestSQLite/state",
	},
	{
		"a run that died is not taken for one that goes on",
		"store/run.go", "\"AND (NOT dry_run OR started_at < ?) RETURNING id\"", "\"AND (NOT dry_run OR started_at < ?) AND FALSE RETURNING id\"",
		"./reconcile", "TestRun_InterruptedRunIsClosedByTheNext",
	},
	{
		"the last local admin stays (break glass)",
		"reconcile/lifecycle/applier.go", "if len(admins) == 1 && admins[0] == u.ID {", "if len(admins) == -1 {",
		"./reconcile/lifecycle", "TestBreakGlass",
	},
	{
		"every event has an outbox entry",
		"store/audit.go", "return tx.insertRows(ctx, \"outbox\", outboxInsert, outbox)", "return tx.insertRows(ctx, \"outbox\", outboxInsert, outbox[:0])",
		"./cmd/internal/cli", "TestChaos_FullDisk",
	},
	{
		"traces: a path does not leave, only its route",
		"cmd/internal/httpserver/trace.go", "attribute.Int(\"http.response.status_code\", status))", "attribute.Int(\"http.response.status_code\", status), attribute.String(\"url.path\", r.URL.Path))",
		"./cmd/internal/app", "TestTraces$",
	},
	{
		"traces: an id that the client chose does not leave",
		"cmd/internal/httpserver/trace.go", "of.OwnID()", "of.ID()",
		"./cmd/internal/app", "TestTraces$",
	},
	{
		"traces: a collector that moved is not followed",
		"cmd/internal/telemetry/otlp.go", "return http.ErrUseLastResponse", "return nil",
		"./cmd/internal/telemetry", "TestTracesAreLostQuietly",
	},
	{
		"logs: the line of a request does not tell a path where it has a route",
		"cmd/internal/httpserver/handler.go", "if of.Route() == \"\" {", "if true {",
		"./cmd/internal/app", "TestLogs$",
	},
	{
		"logs: every line of a request has its id",
		"cmd/internal/telemetry/request.go", "slog.String(\"request_id\", id)", "slog.String(\"request\", id)",
		"./cmd/internal/telemetry", "TestLinesTellTheirContext",
	},
	{
		"metrics: what is held stays held while dry runs come and go",
		"reconcile/standing.go", "if last.Status == identity.RunHeld {", "if last = runs.Compared; last.Status == identity.RunHeld && !last.DryRun {",
		"./cmd/internal/app", "TestMetrics_Values",
	},
	{
		"webhooks: an event waits for the earlier ones of its object",
		"store/delivery.go", "AND e.object_id = d.object_id AND", "AND e.seq = d.seq AND",
		"./connectors/webhook", "TestDeliverer_Order/sqlite",
	},
	{
		"webhooks: whoever lost the lease dispatches nothing",
		"store/webhook.go", "err := tx.Fence(ctx, lease)\n\t\tif err == nil {", "var err error\n\t\tif err == nil {",
		"./store", "TestSQLite/webhooks",
	},
	{
		"webhooks: a new endpoint begins with what happens from then on",
		"store/webhook.go", "\"DELETE FROM outbox\"", "\"DELETE FROM outbox WHERE FALSE\"",
		"./store", "TestSQLite/webhooks",
	},
	{
		"webhooks: private addresses are refused",
		"connectors/webhook/sender.go", "dialer.Control = onlyPublic", "dialer.Control = nil",
		"./connectors/webhook", "TestSender_PrivateAddresses",
	},
	{
		"webhooks: private addresses are refused in IPv6's clothes",
		"connectors/webhook/address.go", "addr = addr.Unmap()", "_ = addr",
		"./connectors/webhook", "TestPublic",
	},
	{
		"webhooks: redirections are not followed",
		"connectors/webhook/sender.go", "return http.ErrUseLastResponse", "return nil",
		"./connectors/webhook", "TestSender_Answers",
	},
	{
		"sign-in: whoever is deactivated is signed out",
		"reconcile/lifecycle/signin.go", "c.endSessions(ctx, c.disable, ", "c.endSessions(ctx, c.disable[:0], ",
		"./reconcile/lifecycle", "TestSessionsEnd",
	},
	{
		"sign-in: a session counts while its person is active",
		"store/session.go", "AND u.active AND u.deleted_at IS NULL", "AND TRUE",
		"./store", "TestSQLite/sessions",
	},
	{
		"sign-in: no identity provider enters a local account",
		"reconcile/lifecycle/signin.go", "case local && method != MethodPassword:", "case local && method == \"\":",
		"./reconcile/lifecycle", "TestMaySignIn|TestSignInStated_Refused",
	},
	{
		"sign-in: nobody gets in without a role",
		"reconcile/lifecycle/signin.go", "case !granted:", "case false:",
		"./reconcile/lifecycle", "TestMaySignIn|TestSignInStated_NothingIsGranted",
	},
	{
		"sign-in: a name under another id is refused",
		"reconcile/lifecycle/jit.go", "return SignInSubjectChanged, nil", "return \"\", nil",
		"./reconcile/lifecycle", "TestSignInStated_Subjects",
	},
	{
		"sign-in: nobody is made while SCIM is on",
		"reconcile/lifecycle/jit.go", "st.Provision = st.Provision && setting.JITProvisioning()", "_ = setting",
		"./reconcile/lifecycle", "TestSignInStated_SCIM",
	},
	{
		"sign-in: a source that takes somebody over says what they may do",
		"reconcile/lifecycle/signin.go", "return c.dropSignInGrants(ctx, c.adopt)", "return nil",
		"./reconcile/lifecycle", "TestAdoptedBySource",
	},
	{
		"sign-in: a password that was changed meanwhile opens nothing",
		"reconcile/lifecycle/signin.go", "if now != hash {", "if now == \"none\" {",
		"./reconcile/lifecycle", "TestSignInWithPassword",
	},
	{
		"sign-in: what is remembered is told once",
		"store/signin.go", "\"DELETE FROM signin_memory WHERE kind = ? AND key = ? RETURNING value, expires_at\"", "\"SELECT value, expires_at FROM signin_memory WHERE kind = ? AND key = ?\"",
		"./store", "TestSQLite/sign-ins",
	},
	{
		"sign-in: a try counts before its password is checked",
		"cmd/internal/signin/throttle.go", "spend(now, counters)\n\t\t\tt.spent", "t.spent",
		"./cmd/internal/signin", "TestSignIn_AtOnce",
	},
	{
		"sign-in: a network is not forgiven for a right password",
		"cmd/internal/signin/throttle.go", "case ofPlace && right:", "case (ofPlace || true) && right:",
		"./cmd/internal/signin", "TestTheNetworkIsNotForgiven",
	},
	{
		"sign-in: attackers lock nobody out",
		"cmd/internal/signin/throttle.go", "c.Count >= accountMost && counters[0].Count > 0 {", "c.Count >= accountMost {",
		"./cmd/internal/signin", "TestAttackForADay|TestNobodyIsLockedOut",
	},
	{
		"api: what it takes to call an operation is asked",
		"cmd/internal/api/auth.go", "if c.level >= n {", "if true {",
		"./cmd/internal/api", "TestPermissions",
	},
	{
		"api: what another site's page asks for is not done",
		"cmd/internal/api/auth.go", "if err := a.crossOrigin.Check(r); err != nil {", "if err := error(nil); err != nil {",
		"./cmd/internal/api", "TestOtherSites",
	},
	{
		"api: a key makes no keys for its owner",
		"cmd/internal/api/keys.go", "own := err == nil && u.ID == c.userID && c.session()", "own := err == nil && u.ID == c.userID",
		"./cmd/internal/api", "TestPermissions",
	},
	{
		"sign-in: what another site's page posts is not done",
		"cmd/internal/signin/service.go", "return s.crossOrigin.Handler(next)", "return next",
		"./cmd/internal/app", "TestSignIn_CrossSite",
	},
	{
		"saml: a second assertion is refused before a signature is looked at",
		"cmd/internal/signin/samlsp/outline.go", "case assertions > 1:", "case false:",
		"./cmd/internal/signin/samlsp", "TestRefused",
	},
	{
		"saml: signatures of SHA-1 are refused",
		"cmd/internal/signin/samlsp/provider.go", "RejectSHA1Signatures:             true", "RejectSHA1Signatures:             false",
		"./cmd/internal/signin/samlsp", "TestRefused",
	},
	{
		"saml: nobody's assertion is believed unless it is allowed",
		"cmd/internal/signin/samlsp/provider.go", "p.options.AllowInitiated,\n", "true,\n",
		"./cmd/internal/signin/samlsp", "TestInitiated",
	},
	{
		"saml: an assertion is used once, over all replicas",
		"cmd/internal/signin/samlsp/provider.go", "if err := p.use(ctx, asserted); err != nil {", "if err := error(nil); err != nil {",
		"./cmd/internal/signin/samlsp", "TestReplicas",
	},
	{
		"saml: an answer counts in the browser that asked",
		"cmd/internal/signin/samlsp/provider.go", "if !p.cookie.Bound(r, begun.Mark) {", "if false {",
		"./cmd/internal/signin/samlsp", "TestBrowsers",
	},
	{
		"openid connect: an answer counts in the browser that asked",
		"cmd/internal/signin/oidcrp/provider.go", "if !p.cookie.Bound(r, begun.Mark) {", "if false {",
		"./cmd/internal/signin/oidcrp", "TestBrowsers",
	},
	{
		"openid connect: the code goes with the verifier",
		"cmd/internal/signin/oidcrp/token.go", "oauth2.VerifierOption(verifier)", "oauth2.SetAuthURLParam(\"x\", verifier)",
		"./cmd/internal/signin/oidcrp", "TestSignIn|TestBrowsers",
	},
	{
		"openid connect: an ID token is of this sign-in",
		"cmd/internal/signin/oidcrp/token.go", "case said != nonce:", "case said == \"x\":",
		"./cmd/internal/signin/oidcrp", "TestRefused",
	},
	{
		"openid connect: an ID token is for this application",
		"cmd/internal/signin/oidcrp/token.go", "case !slices.Contains(audience, p.options.ClientID):", "case false:",
		"./cmd/internal/signin/oidcrp", "TestRefused",
	},
	{
		"openid connect: nothing but the provider's keys signs",
		"cmd/internal/signin/oidcrp/discovery.go", "return !slices.Contains(known, name) })", "return !slices.Contains(append(known, \"none\", \"HS256\"), name) })",
		"./cmd/internal/signin/oidcrp", "TestRefused|TestUnavailable",
	},
	{
		"a change of the role mapping by which too many lose a role is held",
		"reconcile/lifecycle/remap.go", "if r.DryRun || r.Approve == \"\" && plan.Guard != \"\" {", "if r.DryRun {",
		"./reconcile/lifecycle", "TestRemap_TheGuardHolds",
	},
	{
		"a change of the role mapping that became another one is not the one approved",
		"reconcile/lifecycle/remap.go", "if r.Approve != \"\" && r.Approve != plan.Hash {", "if false {",
		"./reconcile/lifecycle", "TestRemap_TheGuardHolds",
	},
	{
		"what a configuration declares of the role mapping is not changed elsewhere",
		"reconcile/lifecycle/remap.go", "declared := a.Declared(); declared {", "declared := a.Declared(); declared && false {",
		"./reconcile/lifecycle", "TestRemap_WhatTheConfigurationDeclares",
	},
	{
		"the owner of a SCIM key in use is not demoted",
		"reconcile/lifecycle/applier.go", "if owner.OwnsKey && ", "if false && ",
		"./reconcile/lifecycle", "TestBreakGlass_OwnerOfASCIMKeyIsNotDemoted",
	},
	{
		"whoever takes the name of a group inherits nothing of its mapping",
		"reconcile/lifecycle/group.go", "c.moved(ctx, roles.Rename{From: held.DisplayName, To: after.DisplayName})", "error(nil)",
		"./reconcile/lifecycle", "TestRemap_FollowsNames",
	},
	{
		"the console changes the role mapping only once somebody saw what comes of it",
		"cmd/internal/console/mapping.go", "if ch.Hash == \"\" {", "if false {",
		"./cmd/internal/console", "TestMapping/sqlite",
	},
}

func main() {
	only := flag.String("only", "", "those whose name matches a regular expression")
	flag.Parse()
	if err := run(regexp.MustCompile(*only)); err != nil {
		fmt.Fprintln(os.Stderr, "protections:", err)
		os.Exit(1)
	}
}

func run(only *regexp.Regexp) error {
	dir, err := os.MkdirTemp("", "protections-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		return fmt.Errorf("copy the module: %w", err)
	}
	missed := 0
	for i := range protections {
		p := &protections[i]
		if !only.MatchString(p.name) {
			continue
		}
		noticed, told, err := p.try(dir)
		verdict := "noticed"
		switch {
		case err != nil:
			verdict, told, missed = "ERROR  ", err.Error(), missed+1
		case !noticed:
			verdict, missed = "MISSED ", missed+1
		}
		fmt.Printf("%s  %-75s %s\n", verdict, p.name, told)
	}
	if missed > 0 {
		return fmt.Errorf("%d protections are missed by no test, or could not be taken out", missed)
	}
	return nil
}

// try takes the protection out, runs its test, and puts it back. It tells whether the test failed, and which.
func (p *protection) try(dir string) (noticed bool, told string, err error) {
	file := filepath.Join(dir, p.file)
	whole, err := os.ReadFile(file)
	if err != nil {
		return false, "", err
	}
	if !bytes.Contains(whole, []byte(p.old)) {
		return false, "", fmt.Errorf("%s does not have the text %q any more: say anew how to take the protection out", p.file, p.old)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	if out, err := command(ctx, dir, "go", "test", "-run", p.test, p.pkg).CombinedOutput(); err != nil {
		return false, "", fmt.Errorf("fails with the protection in its place: %s", out)
	}
	defer func() {
		if back := os.WriteFile(file, whole, 0o644); err == nil {
			err = back
		}
	}()
	if err := os.WriteFile(file, bytes.ReplaceAll(whole, []byte(p.old), []byte(p.new)), 0o644); err != nil {
		return false, "", err
	}
	if out, err := command(ctx, dir, "go", "vet", p.pkg).CombinedOutput(); err != nil {
		return false, "", fmt.Errorf("what is left does not compile: %s", out)
	}
	out, err := command(ctx, dir, "go", "test", "-count=1", "-timeout", "9m", "-run", p.test, p.pkg).CombinedOutput()
	if err == nil {
		if !bytes.Contains(out, []byte("ok")) || bytes.Count(out, []byte("no tests to run")) == bytes.Count(out, []byte("ok")) {
			return false, "", fmt.Errorf("there is no test %s in %s", p.test, p.pkg)
		}
		return false, p.test, nil
	}
	failed := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindAllStringSubmatch(string(out), -1)
	if len(failed) == 0 {
		return false, "", fmt.Errorf("go test: %w\n%s", err, out)
	}
	var names []string
	for _, f := range failed {
		names = append(names, f[1])
	}
	return true, strings.Join(names, " "), nil
}

func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return cmd
}
