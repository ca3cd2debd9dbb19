package signin_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin"
)

func TestHashAndCheck(t *testing.T) {
	t.Parallel()
	hash, err := signin.HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("HashPassword = %q, want argon2id with 19 MiB", hash)
	}
	again, err := signin.HashPassword("correct horse")
	if err != nil || again == hash {
		t.Errorf("a second HashPassword = %q, %v, want another salt", again, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false, strings.Repeat("x", 2000): false} {
		if got, err := signin.CheckPassword(hash, password); got != want || err != nil {
			t.Errorf("CheckPassword(%.20q) = %v, %v, want %v", password, got, err, want)
		}
	}
}

// The vector is that of the reference implementation, phc-winner-argon2, test.c: 2 passes, 256 KiB.
func TestCheckReadsForeignHashes(t *testing.T) {
	t.Parallel()
	const hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if ok, err := signin.CheckPassword(hash, "password"); !ok || err != nil {
		t.Errorf("CheckPassword = %v, %v, want true", ok, err)
	}
}

func TestCheckRefusesWhatIsNoHash(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{
		"", "plain", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=x$c29tZXNhbHQ$aa",
	} {
		if ok, err := signin.CheckPassword(hash, "password"); ok || !errors.Is(err, signin.ErrHash) {
			t.Errorf("CheckPassword(%q) = %v, %v, want ErrHash", hash, ok, err)
		}
	}
}

func TestHashRefusesALongPassword(t *testing.T) {
	t.Parallel()
	if _, err := signin.HashPassword(strings.Repeat("x", 1025)); !errors.Is(err, signin.ErrPasswordTooLong) {
		t.Errorf("HashPassword = %v, want ErrPasswordTooLong", err)
	}
}

func TestNewPasswordIsReadableAndNew(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z2-7]{5}(-[a-z2-7]{5}){4}$`)
	seen := map[string]bool{}
	for range 100 {
		password := signin.NewPassword()
		if !form.MatchString(password) || seen[password] {
			t.Fatalf("NewPassword() = %q, want a new one like %s", password, form)
		}
		seen[password] = true
	}
}

func BenchmarkCheckPassword(b *testing.B) {
	hash, err := signin.HashPassword("x")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := signin.CheckPassword(hash, "x"); !ok || err != nil {
			b.Fatal("no match")
		}
	}
}
