package entra

import "github.com/idpsync/idpsync/store/identity"

// memberSender gathers members until they make a page: a thousand groups of a dozen members are not a thousand pages.
type memberSender struct {
	send  func([]identity.MemberRecord) error
	batch []identity.MemberRecord
	count int
	group string
	users []string
}

func (s *memberSender) begin(group string) { s.group, s.users = group, nil }

func (s *memberSender) add(id guid) error {
	s.users = append(s.users, id.String())
	s.count++
	if s.count < memberBatch {
		return nil
	}
	s.batch = append(s.batch, identity.MemberRecord{GroupID: s.group, UserIDs: s.users})
	s.users = nil
	return s.flush()
}

// end states the last part of the group.
func (s *memberSender) end(last bool) error {
	s.batch = append(s.batch, identity.MemberRecord{GroupID: s.group, UserIDs: s.users, Last: last})
	s.users = nil
	if s.count++; s.count < memberBatch {
		return nil
	}
	return s.flush()
}

func (s *memberSender) flush() error {
	batch := s.batch
	s.batch, s.count = nil, 0
	if len(batch) == 0 {
		return nil
	}
	return s.send(batch)
}
