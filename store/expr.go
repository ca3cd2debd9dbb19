package store

// Expr is a predicate over users or groups: And, Or, Not, Compare, Test, Some or Has. A nil Expr is true. It is true or
// false of every row, never unknown.
type Expr interface{ isExpr() }

type (
	// And is true when all of its parts are; empty, it is true.
	And []Expr
	// Or is true when one of its parts is; empty, it is false.
	Or []Expr
	// Not is the negation.
	Not struct{ Expr Expr }
	// Compare compares a field with a value: string, bool or time.Time, as the field has it. A field without a value is
	// unequal to every one, and nothing else. Before and After are written around the field's value, as text, before it
	// is compared: so is an id part of a URI.
	Compare struct {
		Field         Field
		Op            CompareOp
		Value         any
		Before, After string
	}
	// Test is true when one of an attribute's values passes a comparison with a value: string, bool, json.Number or
	// time.Time, as the attribute's kind has it. OpNe is also true where there is no value.
	Test struct {
		Attribute Attribute
		Op        CompareOp
		Value     any
	}
	// Some is true when one element of what Of leads to meets Where: of an Attribute, whose elements' sub-attributes are
	// the attributes in Where, or of FieldMember, where FieldID, FieldDisplayName and FieldNested are the other side's. A bare element
	// stands for an object with that "value", and a lone object for a list of one. A nil Where is met by any element.
	Some struct {
		Of    Operand
		Where Expr
	}
	// Has is true of documents that have an object of an extension.
	Has struct{ Extension string }
)

func (And) isExpr()     {}
func (Or) isExpr()      {}
func (Not) isExpr()     {}
func (Compare) isExpr() {}
func (Test) isExpr()    {}
func (Some) isExpr()    {}
func (Has) isExpr()     {}

// CompareOp is a SCIM comparison operator (RFC 7644, section 3.4.2.2).
type CompareOp string

// Operators.
const (
	OpEq CompareOp = "eq"
	OpNe CompareOp = "ne"
	OpCo CompareOp = "co"
	OpSw CompareOp = "sw"
	OpEw CompareOp = "ew"
	OpGt CompareOp = "gt"
	OpGe CompareOp = "ge"
	OpLt CompareOp = "lt"
	OpLe CompareOp = "le"
	OpPr CompareOp = "pr" // has a value that is not empty; Value is ignored
)

// Operand is what a query compares or orders by: a Field or an Attribute.
type Operand interface{ isOperand() }

// Field is something with a column of its own.
type Field string

func (Field) isOperand() {}

// Fields. userName, and displayName, are compared without case and without the space around them, as they are unique;
// displayName of a user is the name shown, which is made of others where there is none. Ids are compared exactly.
const (
	FieldID           Field = "id"
	FieldUserName     Field = "userName"   // users
	FieldExternalID   Field = "externalId" // "" is no value
	FieldDisplayName  Field = "displayName"
	FieldEmail        Field = "email"  // users: the primary e-mail address, "" is no value
	FieldActive       Field = "active" // users
	FieldCreated      Field = "created"
	FieldLastModified Field = "lastModified"
	FieldVersion      Field = "version"
	FieldSource       Field = "source" // the owning connector or key
	FieldOrigin       Field = "origin" // users: local or sso
	FieldEmails       Field = "emails" // users: any of the e-mail addresses, without the space around it; OpEq only
	FieldMember       Field = "member" // groups: id of a member; users: id of a group; OpEq only, or of Some
	FieldNested       Field = "nested" // inside Some of FieldMember: the member is a group; the user is in it only by another
)

// Attribute leads to the values of an attribute inside the document of a user or group, or inside an element of it.
type Attribute struct {
	Extension string // URN of the extension, "" for core
	Name, Sub string // canonical spelling; Sub "" for none
	Kind      ValueKind
}

func (Attribute) isOperand() {}

// ValueKind is how the values of an attribute are compared. A value of another type equals nothing.
type ValueKind uint8

// Kinds.
const (
	TextFold  ValueKind = iota // without case
	TextExact                  // byte by byte
	Bool                       // also where it is written as a text
	Number                     // exactly, whatever its digits
	Time                       // RFC 3339, without a zone as UTC
)
