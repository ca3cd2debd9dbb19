package schema

// Service returns the schemas of the resources by which the service describes itself (RFC 7643, sections 5 to 7, and
// RFC 9865, section 4).
func Service() []*Schema {
	return []*Schema{serviceProviderConfig(), resourceType(), schemaSchema()}
}

// fixed defines an attribute that clients only read.
func fixed(name, description string, options ...option) Attribute {
	return attribute(name, description, append([]option{readOnly}, options...)...)
}

func flag(name, description string) Attribute {
	return fixed(name, description, typed(Boolean), required)
}

func number(name, description string) Attribute {
	return fixed(name, description, typed(Integer), required)
}

func serviceProviderConfig() *Schema {
	isSupported := flag("supported", "Whether the feature is supported")
	feature := func(name, description string, more ...Attribute) Attribute {
		return fixed(name, description, required, with(append([]Attribute{isSupported}, more...)...))
	}
	return &Schema{
		ID: ServiceProviderConfigURN, Name: "ServiceProviderConfig", Description: "What this service provider supports",
		Attributes: []Attribute{
			fixed("documentationUri", "URI of the documentation for people", refersTo("external")),
			feature("patch", "PATCH requests"),
			feature("bulk", "Bulk requests",
				number("maxOperations", "The most operations in one request"),
				number("maxPayloadSize", "The largest request in bytes")),
			feature("filter", "Filters", number("maxResults", "The most resources in one answer")),
			feature("changePassword", "Changes of passwords"),
			feature("sort", "Sorted lists"),
			feature("etag", "Entity tags"),
			fixed("pagination", "Paging", with(
				flag("cursor", "Whether pages are reached by cursors"),
				flag("index", "Whether pages are reached by indexes"),
				fixed("defaultPaginationMethod", "The method used when none is asked for", canonical("cursor", "index")),
				fixed("defaultPageSize", "Resources in a page when no count is asked for", typed(Integer)),
				fixed("maxPageSize", "The most resources in a page", typed(Integer)),
				fixed("cursorTimeout", "Seconds for which a cursor is good", typed(Integer)),
			)),
			fixed("authenticationSchemes", "Ways to authenticate", required, multi, with(
				fixed("type", "The kind of scheme", required, canonical("oauth", "oauth2", "oauthbearertoken", "httpbasic", "httpdigest")),
				fixed("name", "Name of the scheme", required),
				fixed("description", "Description of the scheme", required),
				fixed("specUri", "URI of the scheme's specification", refersTo("external")),
				fixed("documentationUri", "URI of the scheme's documentation", refersTo("external")),
				fixed("primary", "Whether this is the preferred scheme", typed(Boolean)),
			)),
		},
	}
}

func resourceType() *Schema {
	return &Schema{
		ID: ResourceTypeURN, Name: "ResourceType", Description: "A type of resource",
		Attributes: []Attribute{
			fixed("id", "Identifier of the resource type"),
			fixed("name", "Name of the resource type", required),
			fixed("description", "Description of the resource type"),
			fixed("endpoint", "Address of the resources, relative to the base URL", required, refersTo("uri")),
			fixed("schema", "URN of the core schema", required, refersTo("uri")),
			fixed("schemaExtensions", "Extensions of the core schema", multi, with(
				fixed("schema", "URN of the extension", required, refersTo("uri")),
				flag("required", "Whether every resource has the extension"),
			)),
		},
	}
}

func schemaSchema() *Schema {
	characteristics := []Attribute{
		fixed("name", "Name of the attribute", required, caseExact),
		fixed("type", "Data type of the attribute", required, caseExact,
			canonical("string", "complex", "boolean", "decimal", "integer", "dateTime", "reference", "binary")),
		flag("multiValued", "Whether the attribute has several values"),
		fixed("description", "Description of the attribute"),
		flag("required", "Whether the attribute must be stated"),
		fixed("canonicalValues", "Values that are suggested", multi, caseExact),
		fixed("caseExact", "Whether values are compared with regard to case", typed(Boolean)),
		fixed("mutability", "Whether clients may write the attribute", required, caseExact,
			canonical("readOnly", "readWrite", "immutable", "writeOnly")),
		fixed("returned", "When the attribute is part of an answer", required, caseExact,
			canonical("always", "never", "default", "request")),
		fixed("uniqueness", "Within which bounds a value is unique", required, caseExact,
			canonical("none", "server", "global")),
		fixed("referenceTypes", "What a reference may refer to", multi, caseExact),
	}
	// RFC 7643, section 8.7.2 describes the sub-attributes of sub-attributes, the one place where complex attributes
	// nest.
	sub := fixed("subAttributes", "Sub-attributes of a complex attribute", multi, with(characteristics...))
	return &Schema{
		ID: SchemaURN, Name: "Schema", Description: "A schema",
		Attributes: []Attribute{
			fixed("id", "URN of the schema", required, caseExact),
			fixed("name", "Name of the schema"),
			fixed("description", "Description of the schema"),
			fixed("attributes", "Attributes of the schema", required, multi, with(append(characteristics, sub)...)),
		},
	}
}
