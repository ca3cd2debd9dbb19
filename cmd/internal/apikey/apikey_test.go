package apikey_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
)

func TestGenerateGivesKeysThatParse(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^idps_[0-9A-Za-z]{11}_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 1000 {
		k := apikey.Generate()
		if !form.MatchString(k.Reveal()) {
			t.Fatalf("Generate() = %q, want %s", k.Reveal(), form)
		}
		if seen[k.ID()] {
			t.Fatalf("the id %s came twice", k.ID())
		}
		seen[k.ID()] = true
		back, err := apikey.Parse(k.Reveal())
		if err != nil || back != k {
			t.Fatalf("Parse(%q) = %v, %v", k.Reveal(), back, err)
		}
		if !back.Matches(k.Hash()) || len(k.Hash()) != 32 {
			t.Fatal("a key does not match its own hash")
		}
	}
}

func TestParseTellsAMistypedKey(t *testing.T) {
	t.Parallel()
	text := apikey.Generate().Reveal()
	for i := len("idps_"); i < len(text); i++ {
		if text[i] == '_' {
			continue
		}
		other := byte('a')
		if text[i] == other {
			other = 'b'
		}
		wrong := text[:i] + string(other) + text[i+1:]
		if _, err := apikey.Parse(wrong); !errors.Is(err, apikey.ErrMistyped) {
			t.Errorf("Parse with letter %d changed = %v, want ErrMistyped", i, err)
		}
	}
}

func TestParseRefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	text := apikey.Generate().Reveal()
	for _, wrong := range []string{
		"", "idps_", "secret", text + "x", text[:len(text)-1], " " + text[1:], "IDPS_" + text[5:],
		strings.Replace(text, "_", "-", 2), text[:20] + "!" + text[21:], text[:len(text)-2] + "é",
	} {
		if _, err := apikey.Parse(wrong); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("Parse(%q) = %v, want ErrMalformed", wrong, err)
		}
	}
}

func TestMatchesOnlyItsOwnHash(t *testing.T) {
	t.Parallel()
	k := apikey.Generate()
	for name, hash := range map[string][]byte{"another key's": apikey.Generate().Hash(), "none": nil, "a part": k.Hash()[:31]} {
		if k.Matches(hash) {
			t.Errorf("a key matches %s hash", name)
		}
	}
}

func TestKeysPrintWithoutTheirSecret(t *testing.T) {
	t.Parallel()
	k := apikey.Generate()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	asJSON, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, k) + log.String() + string(asJSON)
	if secret := k.Reveal()[len("idps_")+12:]; strings.Contains(printed, secret) {
		t.Errorf("the secret is in %s", printed)
	}
	if !strings.Contains(printed, "idps_"+k.ID()+"_[redacted]") {
		t.Errorf("the id is not in %s", printed)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(apikey.Generate().Reveal())
	f.Add("idps_")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := apikey.Parse(text)
		if err == nil && k.Reveal() != text {
			t.Errorf("Parse(%q) = %q", text, k.Reveal())
		}
	})
}

func BenchmarkParseAndMatch(b *testing.B) {
	k := apikey.Generate()
	text, hash := k.Reveal(), k.Hash()
	for b.Loop() {
		if k, err := apikey.Parse(text); err != nil || !k.Matches(hash) {
			b.Fatal("no match")
		}
	}
}
