package signin

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Argon2id with the least memory that OWASP's cheat sheet on password storage recommends, 19 MiB, and two passes.
const (
	memoryKiB  = 19 * 1024
	passes     = 2
	threads    = 1
	saltLength = 16
	hashLength = 32
)

// maxPassword bounds what is hashed, in bytes.
const maxPassword = 1024

// Errors about passwords.
var (
	// ErrPasswordTooLong: the password has more than 1024 bytes.
	ErrPasswordTooLong = errors.New("the password is longer than 1024 bytes")
	// ErrHash: what is stored is no hash of ours.
	ErrHash = errors.New("not an argon2id hash")
)

// HashPassword returns what to store for a password: argon2id in the PHC string format, with a fresh salt.
func HashPassword(password string) (string, error) {
	if len(password) > maxPassword {
		return "", ErrPasswordTooLong
	}
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails: it ends the program instead
	sum := argon2.IDKey([]byte(password), salt, passes, memoryKiB, threads, hashLength)
	return parameters() + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(sum), nil
}

// CheckPassword tells whether a password is the one that was hashed. It takes about 40 ms and 19 MiB, so that callers
// bound how many run at once. The parameters are those of the hash, so that older hashes go on to work; ErrHash is
// returned for what is no hash, or one whose parameters are out of all proportion.
func CheckPassword(hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	fields := strings.Split(hash, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, ErrHash
	}
	var memory, time uint32
	var lanes uint8
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &memory, &time, &lanes); err != nil {
		return false, ErrHash
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(fields[4])
	want, wantErr := base64.RawStdEncoding.DecodeString(fields[5])
	if saltErr != nil || wantErr != nil || len(salt) < 8 || len(want) < 16 || len(want) > 64 ||
		memory > 1<<20 || time == 0 || time > 16 || lanes == 0 {
		return false, ErrHash
	}
	got := argon2.IDKey([]byte(password), salt, time, memory, lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// MinPassword is the number of characters that a chosen password has at least.
const MinPassword = 14

// WeakPasswordError says what is wrong with a password that somebody chose.
type WeakPasswordError struct{ Reason string }

func (e *WeakPasswordError) Error() string { return e.Reason }

// CheckChosen refuses a password that somebody chose with a *WeakPasswordError: one that is short, is made of a few
// characters, or holds the name of the account.
func CheckChosen(password, userName string) error {
	distinct := map[rune]bool{}
	for _, r := range password {
		distinct[r] = true
	}
	lower := strings.ToLower(password)
	local, _, _ := strings.Cut(strings.ToLower(userName), "@")
	switch {
	case len(password) > maxPassword:
		return &WeakPasswordError{"the password is longer than 1024 bytes"}
	case utf8.RuneCountInString(password) < MinPassword:
		return &WeakPasswordError{fmt.Sprintf("the password has fewer than %d characters: choose a longer one, for example four or five words", MinPassword)}
	case len(distinct) < 5:
		return &WeakPasswordError{"the password repeats a few characters: choose one with more of them"}
	case len(local) >= 3 && strings.Contains(lower, local):
		return &WeakPasswordError{"the password holds the name of the account: choose one without it"}
	}
	return nil
}

// NewPassword returns a random password of 125 bits that can be read aloud: five groups of five lower-case letters and
// digits, without 0, 1, 8 and 9.
func NewPassword() string {
	text := strings.ToLower(rand.Text()) // base32, at least 128 bits
	groups := make([]string, 5)
	for i := range groups {
		groups[i] = text[5*i : 5*i+5]
	}
	return strings.Join(groups, "-")
}
