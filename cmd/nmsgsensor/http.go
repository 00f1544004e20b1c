package main

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server answers /metrics (Prometheus), /healthz and / (a page).
type server struct {
	listener net.Listener
	http     http.Server
	sensor   *sensor
}

// listenHTTP opens the socket; serve answers on it.
func listenHTTP(address string, s *sensor) (*server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	v := &server{listener: l, sensor: s}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(s), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", v.health)
	mux.HandleFunc("GET /{$}", v.page)
	v.http = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.opt.log.Handler(), slog.LevelWarn),
	}
	return v, nil
}

// serve begins to answer, and returns what ends it.
func (v *server) serve() (stop func()) {
	done := make(chan struct{}) // closed when Serve has returned; nothing is sent
	go func() {
		defer close(done)
		v.http.Serve(v.listener) // returns once it is shut down
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if v.http.Shutdown(ctx) != nil {
			v.http.Close()
		}
		<-done
	}
}

// health answers 200 while packets come in and go out, else 503 and why.
func (v *server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if all := problems(v.sensor.report()); len(all) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, strings.Join(all, "\n"))
		return
	}
	fmt.Fprintln(w, "ok")
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is the sensor in the last minutes, for a person.
func (v *server) page(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	if err := pageTemplate.Execute(&b, v.sensor.view(v.sensor.report())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	fmt.Fprint(w, b.String())
}
