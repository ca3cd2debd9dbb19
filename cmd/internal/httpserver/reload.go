package httpserver

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// recheck is how often, at most, handshakes look whether the files have changed.
const recheck = time.Second

// reloader serves a certificate from files and reads them again when they change. While the new ones cannot be read,
// or one of the two is not there yet, the old certificate stays.
type reloader struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu          sync.Mutex
	certificate *tls.Certificate
	loaded      [2]stamp // of the files that certificate came from
	failed      [2]stamp // of the files that could not be used, so that this is logged once
	checked     time.Time
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

func newReloader(certFile, keyFile string, logger *slog.Logger) (*reloader, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile, logger: logger, loaded: stamps(certFile, keyFile), checked: time.Now()}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key: %w", certFile, err)
	}
	r.certificate = &certificate
	return r, nil
}

// get returns the certificate. It is safe for concurrent use.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < recheck {
		return r.certificate, nil
	}
	r.checked = time.Now()
	// The stamps are taken before the files are read: what changes in between is read again next time.
	now := stamps(r.certFile, r.keyFile)
	if now == r.loaded {
		return r.certificate, nil
	}
	certificate, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	switch {
	case err == nil:
		r.certificate, r.loaded = &certificate, now
		r.logger.Info("certificate reloaded", "file", r.certFile)
	case now != r.failed:
		r.failed = now
		r.logger.Error("certificate not reloaded, the old one stays", "file", r.certFile, "error", err)
	}
	return r.certificate, nil
}

func stamps(files ...string) (out [2]stamp) {
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			out[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return out
}
