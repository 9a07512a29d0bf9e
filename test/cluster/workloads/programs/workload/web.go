package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

// chunk is what bulk answers are cut into; its bytes repeat 0 … 250, so that a shifted stream changes the checksum.
var chunk = func() []byte {
	bytes := make([]byte, 251*1024)
	for i := range bytes {
		bytes[i] = byte(i % 251)
	}
	return bytes
}()

// serveWeb answers: / the pod's name; /request method, path, headers and peer as JSON; /bytes?count=N that many bytes;
// /sink the count and SHA-256 of what was sent; /stream?count=N&every=DURATION that many lines, one at a time; /healthz.
func serveWeb(port int) {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "text/plain")
		_, _ = io.WriteString(w, name+"\n")
	})
	routes.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	routes.HandleFunc("/request", describe(name))
	routes.HandleFunc("/bytes", sendBytes)
	routes.HandleFunc("/sink", countBytes)
	routes.HandleFunc("/stream", sendLines)
	log.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", port), routes))
}

func describe(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"pod": name, "method": r.Method, "url": r.URL.String(), "host": r.Host,
			"headers": r.Header, "peer": r.RemoteAddr, "protocol": r.Proto,
		})
	}
}

func sendBytes(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.ParseInt(r.URL.Query().Get("count"), 10, 64)
	if err != nil || count < 0 {
		http.Error(w, "count=N is missing", http.StatusBadRequest)
		return
	}
	w.Header().Set("content-length", strconv.FormatInt(count, 10))
	for count > 0 {
		part := chunk[:min(count, int64(len(chunk)))]
		if _, err := w.Write(part); err != nil {
			return
		}
		count -= int64(len(part))
	}
}

func countBytes(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	count, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %s\n", count, hex.EncodeToString(sum.Sum(nil)))
}

func sendLines(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.URL.Query().Get("count"))
	every, wrong := time.ParseDuration(r.URL.Query().Get("every"))
	if err != nil || wrong != nil || every <= 0 {
		http.Error(w, "count=N and every=DURATION are missing", http.StatusBadRequest)
		return
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	for line := range count {
		fmt.Fprintln(w, line)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-beat.C:
		case <-r.Context().Done():
			return
		}
	}
}
