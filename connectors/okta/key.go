package okta

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// assertionLife is how long a signed assertion may be used; Okta allows an hour.
const assertionLife = 5 * time.Minute

// signer signs the assertions by which the service application proves who it is (RFC 7523, private_key_jwt).
type signer struct {
	key       crypto.Signer
	keyID     string
	algorithm string
	hash      crypto.Hash
}

// newSigner reads a private key in PEM: RSA in PKCS#1 or PKCS#8, EC in SEC 1 or PKCS#8.
func newSigner(text []byte, keyID string) (*signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the private key is not in PEM, which begins with -----BEGIN")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted: decrypt it, for example with openssl rsa")
		}
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key is encrypted: decrypt it, for example with openssl pkcs8")
	default:
		return nil, fmt.Errorf("the PEM holds a %s, not a private key", block.Type)
	}
	if err != nil {
		return nil, errors.New("the private key is damaged") // what the parser says may quote it
	}
	s := &signer{keyID: keyID}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		s.key, s.algorithm, s.hash = key, "RS256", crypto.SHA256
	case *ecdsa.PrivateKey:
		s.key = key
		switch key.Curve.Params().BitSize {
		case 256:
			s.algorithm, s.hash = "ES256", crypto.SHA256
		case 384:
			s.algorithm, s.hash = "ES384", crypto.SHA384
		case 521:
			s.algorithm, s.hash = "ES512", crypto.SHA512
		default:
			return nil, errors.New("the private key is of a curve that Okta does not take: use P-256, P-384 or P-521")
		}
	default:
		return nil, errors.New("the private key is neither RSA nor EC")
	}
	return s, nil
}

// assertion returns a signed assertion of the client, for the audience, as of now. It has no jti: with one, a request that
// is tried again would be refused.
func (s *signer) assertion(clientID, audience string, now time.Time) (string, error) {
	header := map[string]any{"alg": s.algorithm}
	if s.keyID != "" {
		header["kid"] = s.keyID
	}
	claims := map[string]any{"iss": clientID, "sub": clientID, "aud": audience, "iat": now.Unix(), "exp": now.Add(assertionLife).Unix()}
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	signature, err := s.sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// sign returns the signature as RFC 7518 writes it, for an EC key the two numbers one after the other.
func (s *signer) sign(text []byte) ([]byte, error) {
	h := s.hash.New()
	h.Write(text)
	digest := h.Sum(nil)
	key, ok := s.key.(*ecdsa.PrivateKey)
	if !ok {
		return s.key.Sign(rand.Reader, digest, s.hash)
	}
	x, y, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	x.FillBytes(out[:size])
	y.FillBytes(out[size:])
	return out, nil
}
