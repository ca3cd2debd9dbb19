package filter_test

import (
	"fmt"

	"github.com/idpsync/idpsync/scim/filter"
)

func ExampleParse() {
	e, err := filter.Parse(`UserName EQ "ann@x.example" and (emails[type eq "work"].value pr or active eq True)`)
	fmt.Println(e, err)
	_, err = filter.Parse(`userName eq ann`)
	fmt.Println(err)
	// Output:
	// UserName eq "ann@x.example" and (emails[type eq "work" and value pr] or active eq true) <nil>
	// position 13: want a string in double quotes, a number, true, false or null, found "ann"
}
