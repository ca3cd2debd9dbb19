package oktatest

import "github.com/idpsync/idpsync/connectors/idptest"

// Server serves a tenant over TLS with a certificate of its own authority.
type Server = idptest.Server

// StartTLS serves the tenant on a free port of the loopback interface until Close.
func (t *Tenant) StartTLS() *Server {
	s, err := t.Listen("127.0.0.1:0")
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return s
}

// Listen serves the tenant at the address until Close.
func (t *Tenant) Listen(address string) (*Server, error) {
	t.init()
	return idptest.Serve(address, "acme.okta.test", t)
}
