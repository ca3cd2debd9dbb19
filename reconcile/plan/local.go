package plan

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Local are the attributes that belong to whoever holds them here: a pull sets them when it makes somebody or takes
// somebody over, and never changes them afterwards. A path covers what is below it: `phoneNumbers` covers the numbers of
// every type, `name` its parts. The zero value is none.
type Local []identity.Path

// Covers tells whether a path is one of them, or below one. Names of attributes are compared without case.
func (l Local) Covers(p identity.Path) bool {
	same := func(local, other string) bool { return local == "" || strings.EqualFold(local, other) }
	for _, own := range l {
		if strings.EqualFold(own.Schema, p.Schema) && strings.EqualFold(own.Attr, p.Attr) && same(own.Type, p.Type) && same(own.Sub, p.Sub) {
			return true
		}
	}
	return false
}

// String lists the paths, whatever their order: two with the same text cover the same.
func (l Local) String() string {
	texts := make([]string, len(l))
	for i, p := range l {
		texts[i] = strings.ToLower(p.String())
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), "\n")
}

// Digest is a record's fingerprint under these attributes. Under others it is another one, so that a row that was found
// equal under the former is compared in full.
func (l Local) Digest(r *identity.Record) identity.Fingerprint {
	digest := r.Fingerprint()
	if len(l) == 0 {
		return digest
	}
	sum := sha256.Sum256(append(digest[:], l.String()...))
	return identity.Fingerprint(sum[:len(digest)])
}

// without returns the changes that are not of these attributes.
func (l Local) without(fields []identity.FieldChange) []identity.FieldChange {
	if len(l) == 0 {
		return fields
	}
	return slices.DeleteFunc(fields, func(f identity.FieldChange) bool {
		path, err := identity.ParsePath(f.Path)
		return err == nil && l.Covers(path)
	})
}
