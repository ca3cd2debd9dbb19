package store_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestFoldCase: both databases take the same letters for the same without case as Go does, which makes the keys.
func TestFoldCase(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		series := "SELECT n, fold_case(chr(n)) FROM generate_series(1, 1114111) AS n WHERE n NOT BETWEEN 55296 AND 57343"
		if s.Dialect() == "sqlite" {
			series = "WITH RECURSIVE codes(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM codes WHERE n < 1114111) " +
				"SELECT n, fold_case(char(n)) FROM codes WHERE n NOT BETWEEN 55296 AND 57343"
		}
		rows, err := s.DB().QueryContext(t.Context(), series)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		folded, unknown := 0, 0
		for rows.Next() {
			var (
				r    rune
				text string
			)
			if err := rows.Scan(&r, &text); err != nil {
				t.Fatal(err)
			}
			want := strings.ToLower(string(r))
			switch {
			case text == want:
				if want != string(r) {
					folded++
				}
			case !unicode.In(r, unicode.L, unicode.M, unicode.N) || text == string(r):
				unknown++ // one of them knows a letter of a later Unicode than the other
			default:
				t.Errorf("U+%04X %c is folded to %q, want %q", r, r, text, want)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if folded < 1300 || unknown > 200 {
			t.Errorf("%d letters are folded and %d are not known to both", folded, unknown)
		}
		t.Logf("%d letters are folded, %d are not known to both", folded, unknown)
		words := rapid.StringOfN(rapid.RuneFrom([]rune("aZ ΣσςİıIÉéß\u0307\u0301ǅΌΑ.'日")), 0, 12, -1)
		rapid.Check(t, func(rt *rapid.T) {
			word, got := words.Draw(rt, "word"), ""
			if err := s.DB().QueryRowContext(t.Context(), "SELECT fold_case($1)", word).Scan(&got); err != nil || got != strings.ToLower(word) {
				rt.Fatalf("%q is folded to %q, error %v, want %q", word, got, err, strings.ToLower(word))
			}
		})
	})
}

// TestNumberKey: the keys of numbers sort as the numbers do, and are the same for the same.
func TestNumberKey(t *testing.T) {
	t.Parallel()
	digits := rapid.SampledFrom([]string{"0", "1", "10", "100", "7", "70", "12", "120", "9007199254740992", "9007199254740993"})
	number := rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + digits.Draw(t, "whole")
		if rapid.Bool().Draw(t, "fractional") {
			s += "." + rapid.SampledFrom([]string{"0", "5", "50", "05", "005", "99", "000000000000000000000001"}).Draw(t, "fraction")
		}
		if rapid.Bool().Draw(t, "exponent") {
			s += rapid.SampledFrom([]string{"e0", "e1", "E-2", "e+3", "e300", "e-300", "e1000"}).Draw(t, "power")
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		keyA, okA := store.ParseNumberKey(a)
		keyB, okB := store.ParseNumberKey(b)
		if !okA || !okB || strings.Compare(keyA, keyB) != x.Cmp(y) {
			t.Fatalf("keys of %s and %s: %q and %q, the numbers compare %d", a, b, keyA, keyB, x.Cmp(y))
		}
	})
	for _, none := range []string{"", "-", "+1", "01", "1.", ".5", "1e", "0x1", "1_0", "Inf", "NaN", `"1"`, "1 ", " 1", "true", "1e1001", "1e-99999999999", strings.Repeat("1", 1001)} {
		if key, ok := store.ParseNumberKey(none); ok {
			t.Errorf("the key of %.20q is %.20q", none, key)
		}
	}
}

// TestTimeKey: PostgreSQL reads times as Go does, and as none what is none.
func TestTimeKey(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		check := func(t interface{ Fatalf(string, ...any) }, text string) {
			var got *string
			if err := s.DB().QueryRow("SELECT time_key($1)", text).Scan(&got); err != nil {
				t.Fatalf("time_key(%q): %v", text, err)
			}
			want, ok := store.ParseTimeKey(text)
			if (got != nil) != ok || ok && *got != want {
				t.Fatalf("time_key(%q) is not %q, %v", text, want, ok)
			}
		}
		for _, text := range []string{
			"", "x", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1Z",
			"2026-01-02T03:04:05.123456789987Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
			"2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
			"2026-01-01T00:00:60Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+23:60", "2026-01-01T00:00:00+23:59", "0000-01-01T00:00:00+23:59",
			"9999-12-31T23:59:59.999999999-23:59", " 2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z ", "2026-01-02T03:04:05Z\n", "２026-01-02T03:04:05Z", "-2026-01-02T03:04:05Z",
		} {
			check(t, text)
		}
		number := rapid.IntRange(0, 70)
		rapid.Check(t, func(rt *rapid.T) {
			check(rt, fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d%s%s", rapid.IntRange(0, 9999).Draw(rt, "year"), number.Draw(rt, "month")%14, number.Draw(rt, "day")%33,
				number.Draw(rt, "hour")%25, number.Draw(rt, "minute")%61, number.Draw(rt, "second")%61,
				rapid.SampledFrom([]string{"", ".5", ".000000001", ".1234567891"}).Draw(rt, "fraction"), rapid.SampledFrom([]string{"", "Z", "+01:30", "-23:59", "+24:00"}).Draw(rt, "zone")))
		})
	})
}
