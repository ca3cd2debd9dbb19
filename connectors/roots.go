package connectors

import (
	"crypto/x509"
	"fmt"
	"os"
)

// LoadRoots returns the system's certificate authorities and those in the PEM file; nil, the system's, for "".
func LoadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no certificate in PEM", file)
	}
	return roots, nil
}
