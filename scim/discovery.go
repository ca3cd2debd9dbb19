package scim

import (
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

// discovery is what the endpoint says about itself (RFC 7643, sections 5 to 7), without the places, which depend on
// the address that the client uses.
type discovery struct {
	types   []resourceType
	schemas []*schema.Schema
}

func newDiscovery(h *Handler) discovery {
	d := discovery{schemas: append([]*schema.Schema{h.users.Core, h.groups.Core}, h.users.Extensions...)}
	for _, resource := range []*schema.Resource{h.users, h.groups} {
		t := resourceType{
			Schemas: []string{schema.ResourceTypeURN}, ID: resource.Name, Name: resource.Name, Endpoint: resource.Endpoint,
			Description: resource.Description, Schema: resource.Core.ID,
		}
		for _, extension := range resource.Extensions {
			t.SchemaExtensions = append(t.SchemaExtensions, schemaExtension{Schema: extension.ID, Required: extension.Required})
		}
		d.types = append(d.types, t)
	}
	d.schemas = append(d.schemas, schema.Service()...)
	return d
}

type meta struct {
	ResourceType string `json:"resourceType"`
	Location     string `json:"location"`
}

type resourceType struct {
	Schemas          []string          `json:"schemas"`
	ID               string            `json:"id"`
	Name             string            `json:"name"`
	Description      string            `json:"description"`
	Endpoint         string            `json:"endpoint"`
	Schema           string            `json:"schema"`
	SchemaExtensions []schemaExtension `json:"schemaExtensions,omitempty"`
	Meta             meta              `json:"meta"`
}

type schemaExtension struct {
	Schema   string `json:"schema"`
	Required bool   `json:"required"`
}

type schemaBody struct {
	Schemas []string `json:"schemas"`
	*schema.Schema
	Meta meta `json:"meta"`
}

// refuseFilter: discovery is not filtered (RFC 7644, section 4).
func (r *request) refuseFilter() error {
	if r.query.Has("filter") {
		return &Error{Status: http.StatusForbidden, Detail: "discovery cannot be filtered"}
	}
	return nil
}

func (h *Handler) resourceTypes(r *request, id string) (answer, error) {
	if err := r.refuseFilter(); err != nil {
		return answer{}, err
	}
	var all []any
	for _, t := range h.discover.types {
		t.Meta = meta{ResourceType: "ResourceType", Location: r.base + "/ResourceTypes/" + t.ID}
		if id == t.ID {
			return answer{status: http.StatusOK, body: t}, nil
		}
		all = append(all, t)
	}
	return discovered(id, all)
}

func (h *Handler) schemas(r *request, id string) (answer, error) {
	if err := r.refuseFilter(); err != nil {
		return answer{}, err
	}
	var all []any
	for _, s := range h.discover.schemas {
		body := schemaBody{
			Schemas: []string{schema.SchemaURN}, Schema: s,
			Meta: meta{ResourceType: "Schema", Location: r.base + "/Schemas/" + s.ID},
		}
		if strings.EqualFold(id, s.ID) {
			return answer{status: http.StatusOK, body: body}, nil
		}
		all = append(all, body)
	}
	return discovered(id, all)
}

func discovered(id string, all []any) (answer, error) {
	if id != "" {
		return answer{}, store.ErrNotFound
	}
	return answer{status: http.StatusOK, body: listBody{
		Schemas: []string{listURN}, TotalResults: len(all), StartIndex: 1, ItemsPerPage: len(all), Resources: all,
	}}, nil
}

type supported struct {
	Supported bool `json:"supported"`
}

type bulkSupport struct {
	Supported      bool `json:"supported"`
	MaxOperations  int  `json:"maxOperations"`
	MaxPayloadSize int  `json:"maxPayloadSize"`
}

type filterSupport struct {
	Supported  bool `json:"supported"`
	MaxResults int  `json:"maxResults"`
}

// paginationSupport is defined by RFC 9865, section 4.
type paginationSupport struct {
	Cursor                  bool   `json:"cursor"`
	Index                   bool   `json:"index"`
	DefaultPaginationMethod string `json:"defaultPaginationMethod"`
	DefaultPageSize         int    `json:"defaultPageSize"`
	MaxPageSize             int    `json:"maxPageSize"`
	CursorTimeout           int    `json:"cursorTimeout"` // in seconds
}

type authenticationScheme struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	SpecURI     string `json:"specUri"`
	Primary     bool   `json:"primary"`
}

type serviceProvider struct {
	Schemas               []string               `json:"schemas"`
	Patch                 supported              `json:"patch"`
	Bulk                  bulkSupport            `json:"bulk"`
	Filter                filterSupport          `json:"filter"`
	ChangePassword        supported              `json:"changePassword"`
	Sort                  supported              `json:"sort"`
	ETag                  supported              `json:"etag"`
	Pagination            paginationSupport      `json:"pagination"`
	AuthenticationSchemes []authenticationScheme `json:"authenticationSchemes"`
	Meta                  meta                   `json:"meta"`
}

func (h *Handler) serviceProviderConfig(r *request, _ string) (answer, error) {
	if err := r.refuseFilter(); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, body: serviceProvider{
		Schemas: []string{schema.ServiceProviderConfigURN},
		Patch:   supported{true},
		Bulk:    bulkSupport{Supported: true, MaxOperations: maxBulkOperations, MaxPayloadSize: maxBulkPayload},
		Filter:  filterSupport{Supported: true, MaxResults: h.opt.MaxResults},
		Sort:    supported{true},
		ETag:    supported{true},
		Pagination: paginationSupport{
			Cursor: true, Index: true, DefaultPaginationMethod: "index",
			DefaultPageSize: h.opt.MaxResults, MaxPageSize: h.opt.MaxResults, CursorTimeout: int(cursorTimeout.Seconds()),
		},
		AuthenticationSchemes: []authenticationScheme{{
			Type: "oauthbearertoken", Name: "API key", Description: "A personal API key as a bearer token",
			SpecURI: "https://www.rfc-editor.org/info/rfc6750", Primary: true,
		}},
		Meta: meta{ResourceType: "ServiceProviderConfig", Location: r.base + "/ServiceProviderConfig"},
	}}, nil
}
