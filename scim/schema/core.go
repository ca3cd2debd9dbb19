package schema

// option changes one characteristic of an attribute that is being defined.
type option func(*Attribute)

func required(a *Attribute)   { a.Required = true }
func caseExact(a *Attribute)  { a.CaseExact = true }
func readOnly(a *Attribute)   { a.Mutability = ReadOnly }
func immutable(a *Attribute)  { a.Mutability = Immutable }
func multi(a *Attribute)      { a.MultiValued = true }
func always(a *Attribute)     { a.Returned = Always }
func asSent(a *Attribute)     { a.AsSent = true }
func uniqueHere(a *Attribute) { a.Uniqueness = Server }

func typed(t Type) option { return func(a *Attribute) { a.Type = t } }

func canonical(values ...string) option { return func(a *Attribute) { a.CanonicalValues = values } }

func refersTo(types ...string) option {
	return func(a *Attribute) { a.Type, a.CaseExact, a.ReferenceTypes = Reference, true, types }
}

func with(sub ...Attribute) option {
	return func(a *Attribute) { a.Type, a.SubAttributes = Complex, sub }
}

func attribute(name, description string, options ...option) Attribute {
	a := Attribute{
		Name: name, Type: String, Description: description,
		Mutability: ReadWrite, Returned: Default, Uniqueness: None,
	}
	for _, o := range options {
		o(&a)
	}
	return a
}

// plural defines a multi-valued attribute with the usual sub-attributes (RFC 7643, section 2.4).
func plural(name, description string, value Attribute, types []string, options ...option) Attribute {
	kind := attribute("type", "What the value is for")
	kind.CanonicalValues = types
	subs := []Attribute{
		value,
		attribute("display", "The value for people to read"),
		kind,
		attribute("primary", "Whether this is the preferred value; true at most once", typed(Boolean)),
	}
	return attribute(name, description, append([]option{with(subs...), multi}, options...)...)
}

// common defines the attributes that every resource has (RFC 7643, section 3.1). They are not part of a schema.
func common() Schema {
	return Schema{Attributes: []Attribute{
		attribute("schemas", "URNs of the schemas that the resource uses", refersTo("uri"), multi, always, readOnly),
		attribute("id", "Identifier given by the server", caseExact, readOnly, always, uniqueHere),
		attribute("externalId", "Identifier given by the client", caseExact, uniqueHere),
		attribute("meta", "Facts about the resource", readOnly, with(
			attribute("resourceType", "Name of the resource type", caseExact, readOnly),
			attribute("created", "When the resource was created", typed(DateTime), readOnly),
			attribute("lastModified", "When the resource last changed", typed(DateTime), readOnly),
			attribute("location", "URI of the resource", refersTo("uri"), readOnly),
			attribute("version", "Version of the resource, the same as its ETag", caseExact, readOnly),
		)),
	}}
}

// user defines the core schema of users (RFC 7643, section 4.1), with what this service requires marked so.
func user() *Schema {
	return &Schema{
		ID: UserURN, Name: "User", Description: "User account",
		Attributes: []Attribute{
			attribute("userName", "Name that the user signs in with, unique without regard to case", required, uniqueHere),
			attribute("name", "The parts of the user's name", required, with(
				attribute("formatted", "The full name, formatted for display"),
				attribute("familyName", "The family name", required),
				attribute("givenName", "The given name", required),
				attribute("middleName", "The middle names"),
				attribute("honorificPrefix", "The title before the name, such as Ms."),
				attribute("honorificSuffix", "The suffix after the name, such as III"),
			)),
			attribute("displayName", "The name of the user for people to read"),
			attribute("nickName", "The casual name of the user"),
			attribute("profileUrl", "URI of the user's online profile", refersTo("external")),
			attribute("title", "The user's title, such as Vice President"),
			attribute("userType", "The relation between the organization and the user, such as Contractor"),
			attribute("preferredLanguage", "The preferred languages, as in Accept-Language"),
			attribute("locale", "The location for formatting numbers, dates and currency, such as en-US"),
			attribute("timezone", "The time zone in IANA format, such as Europe/Berlin"),
			attribute("active", "Whether the user may sign in", typed(Boolean)),
			attribute("password", "Accepted and dropped: users sign in at their identity provider",
				caseExact, func(a *Attribute) { a.Mutability, a.Returned = WriteOnly, Never }),
			plural("emails", "E-mail addresses; exactly one is primary",
				attribute("value", "The e-mail address"), []string{"work", "home", "other"}, required),
			plural("phoneNumbers", "Phone numbers",
				attribute("value", "The phone number"), []string{"work", "home", "mobile", "fax", "pager", "other"}),
			plural("ims", "Instant messaging addresses",
				attribute("value", "The address"), []string{"aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"}),
			plural("photos", "URIs of photos of the user",
				attribute("value", "URI of a photo", refersTo("external")), []string{"photo", "thumbnail"}),
			attribute("addresses", "Postal addresses", multi, with(
				attribute("formatted", "The full address, formatted for display"),
				attribute("streetAddress", "Street, house number and the like"),
				attribute("locality", "The city or locality"),
				attribute("region", "The state or region"),
				attribute("postalCode", "The zip or postal code"),
				attribute("country", "The country, as in ISO 3166-1 alpha-2"),
				attribute("type", "What the address is for", canonical("work", "home", "other")),
				attribute("primary", "Whether this is the preferred address; true at most once", typed(Boolean)),
			)),
			attribute("groups", "Groups that the user belongs to; changed through the groups", readOnly, multi, with(
				attribute("value", "Identifier of the group", caseExact, readOnly),
				attribute("$ref", "URI of the group", refersTo("Group"), readOnly),
				attribute("display", "Name of the group", readOnly),
				attribute("type", "Whether the membership is direct", canonical("direct", "indirect"), readOnly),
			)),
			plural("entitlements", "Entitlements of the user", attribute("value", "The entitlement"), nil),
			plural("roles", "Direct roles of the user on the root team", attribute("value", "The role"), nil, asSent),
			plural("x509Certificates", "Certificates of the user",
				attribute("value", "A DER-encoded certificate in base64", typed(Binary), caseExact), nil),
		},
	}
}

// enterpriseUser defines the enterprise extension (RFC 7643, section 4.3).
func enterpriseUser() *Schema {
	return &Schema{
		ID: EnterpriseURN, Name: "EnterpriseUser", Description: "Enterprise user",
		Attributes: []Attribute{
			attribute("employeeNumber", "Identifier given by the organization"),
			attribute("costCenter", "Name of the cost center"),
			attribute("organization", "Name of the organization"),
			attribute("division", "Name of the division"),
			attribute("department", "Name of the department"),
			attribute("manager", "The user's manager", with(
				attribute("value", "Identifier of the manager", caseExact),
				attribute("$ref", "URI of the manager", refersTo("User")),
				// Read-only in RFC 7643, where the server derives it. Here the manager may be unknown to us, so
				// what the identity provider states is kept.
				attribute("displayName", "Name of the manager"),
			)),
		},
	}
}

// group defines the core schema of groups (RFC 7643, section 4.2).
func group() *Schema {
	return &Schema{
		ID: GroupURN, Name: "Group", Description: "Group of users",
		Attributes: []Attribute{
			attribute("displayName", "Name of the group, unique without regard to case", required, uniqueHere),
			attribute("members", "Members of the group", multi, with(
				attribute("value", "Identifier of the member", caseExact, immutable),
				attribute("$ref", "URI of the member", refersTo("User", "Group"), immutable),
				attribute("type", "What the member is", canonical("User", "Group"), immutable),
				attribute("display", "Name of the member", readOnly),
			)),
		},
	}
}
