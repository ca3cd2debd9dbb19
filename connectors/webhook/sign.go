package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// Headers of a message.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const secretPrefix = "whsec_"

// Bounds of a signing key in bytes, as Standard Webhooks wants them.
const (
	minKey = 24
	maxKey = 64
)

// ErrSecret says that a text is no signing secret.
var ErrSecret = errors.New("a signing secret is whsec_ and 24 to 64 bytes in base64; make one with: openssl rand -base64 32")

// key returns the bytes that a secret stands for.
func key(secret connectors.Secret) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	b, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(b) < minKey || len(b) > maxKey {
		return nil, ErrSecret
	}
	return b, nil
}

// sign returns the signature header of a message: one signature for each key, so that receivers who know any of them
// accept it.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, k := range keys {
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
