package entratest

import "github.com/idpsync/idpsync/connectors/idptest"

// Server serves a tenant over TLS with a certificate of its own authority.
type Server struct {
	*idptest.Server
}

// GraphURL returns the address of Microsoft Graph: the server's with the version.
func (s *Server) GraphURL() string { return s.URL + "/v1.0" }

// Authority returns the address of the token service, without a tenant.
func (s *Server) Authority() string { return s.URL }

// StartTLS serves the tenant on a free port of the loopback interface until Close.
func (t *Tenant) StartTLS() *Server {
	s, err := t.Listen("127.0.0.1:0")
	if err != nil {
		panic("entratest: " + err.Error())
	}
	return s
}

// Listen serves the tenant at the address until Close.
func (t *Tenant) Listen(address string) (*Server, error) {
	t.init()
	s, err := idptest.Serve(address, "entratest", t)
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}
