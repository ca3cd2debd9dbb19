package configs

import (
	"fmt"
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces `${NAME}` by the variable's value and `$$` by `$`; any other `$` stays. The error never holds the
// text, which may be a secret.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i == len(text)-1 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:i])
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			text = text[i+2:]
		case '{':
			name, rest, ok := strings.Cut(text[i+2:], "}")
			if !ok {
				return "", fmt.Errorf("a ${ has no }; close it, or write $${ for the characters themselves")
			}
			if !envName.MatchString(name) {
				return "", fmt.Errorf("what stands in ${...} is no name of an environment variable; write ${NAME}, or $${ for the characters themselves")
			}
			value, ok := lookup(name)
			if !ok {
				return "", fmt.Errorf("the environment variable %s is not set; set it, or write $${%s} for the characters themselves", name, name)
			}
			b.WriteString(value) // not expanded again: a value is data
			text = rest
		default:
			b.WriteByte('$')
			text = text[i+1:]
		}
	}
}
