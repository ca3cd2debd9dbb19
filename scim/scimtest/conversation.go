package scimtest

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

// Conversation is what a provider says, and what it wants to hear. It is not changed by a replay.
type Conversation struct {
	Name     string            // the file's, without its ending
	About    string            // the comment that the file begins with
	Settings map[string]string // what the server is to be set to beyond its defaults, by the name in its configuration
	Steps    []Step
	End      End

	answer []Field // wanted of every answer that has a body
}

// End is what the server holds when all has been said, for those who can look into it. People and groups go by the
// names of the values that hold their ids.
type End struct {
	Active   []string
	Inactive []string            // and still to be seen
	Deleted  []string            // users
	Gone     []string            // groups
	Members  map[string][]string // of a group, sorted
}

// Step is one request and the answer that is wanted. What it sends may hold placeholders.
type Step struct {
	Title  string
	Line   int  // of the title, in the file
	Joins  bool // it is sent at the same time as the step before
	Method string
	Target string // path and query below the base address, as they go over the wire
	Header []Field
	Body   string // "" for none
	Want   Answer
}

// Field is a header.
type Field struct{ Name, Value string }

// Answer is what is wanted of an answer.
type Answer struct {
	Status int
	Exact  bool // objects have no members beyond those of Body
	Header []Field
	Body   string // JSON with matchers; "" where it does not matter

	body any // Body, decoded
}

//go:embed conversations/*.txt
var files embed.FS

// All returns the conversations that come with the package, sorted by name.
func All() ([]*Conversation, error) {
	entries, err := files.ReadDir("conversations")
	if err != nil {
		return nil, fmt.Errorf("list the conversations: %w", err)
	}
	all := make([]*Conversation, len(entries))
	for i, entry := range entries {
		text, err := files.ReadFile(path.Join("conversations", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read a conversation: %w", err)
		}
		if all[i], err = Parse(strings.TrimSuffix(entry.Name(), ".txt"), string(text)); err != nil {
			return nil, err
		}
	}
	return all, nil
}
