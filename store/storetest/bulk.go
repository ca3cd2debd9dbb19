package storetest

import (
	"fmt"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var bulkCases = []namedCase{
	{"few rows and many are written alike", fewAndMany},
	{"a batch of any size is written whole", batchSizes},
}

// fewAndMany writes the same people one by one, in a small batch and in one that is copied.
func fewAndMany(f *fixture) {
	edits := []func(*identity.User){everything, func(*identity.User) {}, local}
	for i, text := range nasty {
		edits = append(edits, func(u *identity.User) {
			u.ExternalID, u.Source, u.SourceID, u.Reason = text, "s"+text, text, text
			u.UserName = fmt.Sprint(u.UserName, text)
			u.Roles = []string{text}
			u.Attributes = identity.Attributes{"title": text, "k" + text: []any{text}}
			u.Fingerprint = identity.Fingerprint{15: byte(i)}
		})
	}
	db := f.raw()
	var rounds [][]identity.User
	for _, batch := range []int{1, 7, len(edits)} {
		users := make([]identity.User, len(edits))
		for i, edit := range edits {
			users[i] = f.newUser(edit)
			users[i].ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
			users[i].UserName = fmt.Sprint(i, users[i].UserName[len("user0000@example.com"):])
		}
		for start := 0; start < len(users); start += batch {
			f.insert(users[start:min(start+batch, len(users))]...)
		}
		got, _, err := f.s.Users(f.ctx, store.UserQuery{Limit: 1000, Deleted: true})
		f.check(err)
		if len(got) != len(users) {
			f.Fatalf("batches of %d: %d users, want %d", batch, len(got), len(users))
		}
		for i := range got {
			users[i].Seq, got[i].Seq = 0, 0
			f.equal(fmt.Sprintf("user %d in batches of %d", i, batch), got[i], users[i])
		}
		rounds = append(rounds, got)
		db.must("DELETE FROM users")
	}
	f.equal("one by one and copied", rounds[0], rounds[2])
}

func batchSizes(f *fixture) {
	total := 0
	for _, n := range []int{0, 1, 15, 16, 17, 39, 40, 200} {
		f.users(n)
		total += n
	}
	if _, got, err := f.s.Users(f.ctx, store.UserQuery{}); err != nil || got != total {
		f.Errorf("%d users, error %v, want %d", got, err, total)
	}
}
