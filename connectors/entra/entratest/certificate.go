package entratest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// NewCertificate makes a certificate of its own authority that an application can sign its assertions with. The bundle
// holds it and its private key (PKCS #8) in PEM.
func NewCertificate(notBefore, notAfter time.Time) (certificate *x509.Certificate, bundle []byte) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(notBefore.UnixNano()), Subject: pkix.Name{CommonName: "idpsync"},
		NotBefore: notBefore, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	if certificate, err = x509.ParseCertificate(der); err != nil {
		panic("entratest: " + err.Error())
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("entratest: " + err.Error())
	}
	bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, append(bundle, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}
