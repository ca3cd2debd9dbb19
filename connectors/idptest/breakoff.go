package idptest

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
)

// Break is a way to end a connection in the middle of an answer.
type Break int

// Ways to break off.
const (
	BreakReset     Break = iota // before the answer, with a TCP reset
	BreakClosed                 // before the answer: EOF
	BreakTruncated              // two thirds of the body, its length declared
	BreakSilently               // two thirds of the body, its length not declared
)

// BreakOff ends the connection of the request in the middle of a 200 with the body and the headers of w.
func BreakOff(w http.ResponseWriter, how Break, body []byte) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	switch how {
	case BreakReset:
		inner := conn
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			inner = secure.NetConn()
		}
		if tcp, ok := inner.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
		return
	case BreakClosed:
		return
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	h := w.Header()
	if how == BreakTruncated {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	} else {
		h.Set("Connection", "close")
	}
	_ = h.Write(&b)
	b.WriteString("\r\n")
	b.Write(body[:len(body)*2/3])
	_, _ = conn.Write(b.Bytes())
}
