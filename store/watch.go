package store

import "gorm.io/gorm"

// Watch calls f with each statement and its parameters before it is run. It is for tests that count
// statements or look at their plans, on a store that nobody else uses.
func (s *Store) Watch(f func(statement string, args []any)) error {
	watch := func(db *gorm.DB) { f(db.Statement.SQL.String(), db.Statement.Vars) }
	s.watch = f
	callbacks := s.db.Callback()
	for _, err := range []error{
		callbacks.Query().Before("gorm:query").Register("watch", watch),
		callbacks.Row().Before("gorm:row").Register("watch", watch),
		callbacks.Raw().Before("gorm:raw").Register("watch", watch),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
