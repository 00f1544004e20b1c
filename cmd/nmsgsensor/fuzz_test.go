package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"nmsgsensor/tuple/guard"
)

// newFlags returns the flags and what they set.
func newFlags() (*pflag.FlagSet, *options) {
	opt := options{logFormat: "text"}
	all := pflag.NewFlagSet("nmsgsensor", pflag.ContinueOnError)
	all.SortFlags = false
	for _, g := range groups(&opt) {
		all.AddFlagSet(g.flags)
	}
	return all, &opt
}

// cleanEnvironment takes away the variables that tests of the program set.
func cleanEnvironment(f *testing.F) {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			f.Setenv(name, value) // back at the end
			os.Unsetenv(name)
		}
	}
}

// names are the flags that can be set anywhere, in their order.
func names() (all []string) {
	flags, _ := newFlags()
	flags.VisitAll(func(f *pflag.Flag) {
		if inFiles(f) {
			all = append(all, f.Name)
		}
	})
	return all
}

// written returns the values that give a flag again what it set in fresh options.
func written(f *pflag.Flag, o *options) (all []string) {
	switch f.Name {
	case "interface", "readnmsg", "readpcap", "listen":
		for _, in := range o.inputs {
			s := in.name
			if in.promiscuous {
				s += "+"
			}
			if in.snaplen != 0 {
				s += "," + strconv.Itoa(in.snaplen)
			}
			if in.port != 0 {
				s += "/" + strconv.Itoa(int(in.port))
			}
			all = append(all, s)
		}
		return all
	case "socket", "packet-socket":
		for _, spec := range slices.Concat(o.sockets, o.packets) {
			all = append(all, spec.String())
		}
		return all
	case "write", "write-ipconn", "text", "json":
		return []string{o.write + o.writeIP + o.text + o.json}
	case "count":
		return []string{strconv.FormatUint(o.count, 10)}
	case "unique":
		return []string{fmt.Sprintf("%v,%d", o.unique.window, o.unique.tuples)}
	case "kicker":
		return []string{*o.kicker}
	case "interval":
		return []string{strconv.Itoa(int(o.interval / time.Second))}
	case "setsource", "setoperator", "setgroup":
		return []string{fmt.Sprint(o.labels.Source + o.labels.Operator + o.labels.Group)}
	case "stamp":
		return []string{map[bool]string{false: "packet", true: "now"}[o.stampNow]}
	case "user":
		return []string{o.user.name}
	case "metrics":
		return []string{o.metrics}
	}
	return []string{f.Value.String()}
}

// The memory that a value may take: 65,535 ports in a list that doubles, and so
// much for each byte.
const (
	valueBase    = 16 << 20
	valuePerByte = 1 << 10
)

// FuzzFlags sets a flag on the command line, in the environment and in a file:
// it means the same. What is taken can be written again to the same meaning.
// What passes the check is within bounds.
func FuzzFlags(f *testing.F) {
	cleanEnvironment(f)
	all := names()
	for i := range all {
		f.Add(uint8(i), "1")
		f.Add(uint8(i), [...]string{"", "0", "-1", "eth0+,256", "127.0.0.1/9430..9431,10,2", "[::1]/9", "0x1F", "500ms", "nobody"}[i%9])
	}
	for name, value := range map[string]string{"interface": "eth0+,256", "listen": "127.0.0.1/9430..9431", "socket": "[::1]/9430,10,2",
		"setsource": "0x1F", "user": "nobody", "metrics": "127.0.0.1:9431", "stamp": "now", "log-format": "json", "warn-loss": "NaN",
		"flush": "20ms", "bpf": "udp port 53", "kicker": " a b ", "write": "\x00"} {
		f.Add(uint8(slices.Index(all, name)), value)
	}
	file := filepath.Join(f.TempDir(), "sensor.toml")
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		name := all[int(which)%len(all)]
		flags, opt := newFlags()
		var err error
		guard.Memory(t, valueBase+valuePerByte*len(value), func() {
			flags, opt = newFlags()
			err = flags.Set(name, value)
		})
		_, isList := flags.Lookup(name).Value.(list)
		if !isList {
			sameFromElsewhere(t, file, name, value, opt, err)
		}
		if err != nil {
			return
		}
		flags2, again := newFlags()
		for _, v := range written(flags.Lookup(name), opt) {
			if err := flags2.Set(name, v); err != nil {
				t.Fatalf("--%s=%q: taken as %+v; %q: %v", name, value, opt, v, err)
			}
		}
		withinBounds(t, opt)
		if math.IsNaN(opt.lossShare) {
			return // it is equal to nothing
		}
		if !reflect.DeepEqual(opt, again) {
			t.Fatalf("--%s=%q: %+v became %+v", name, value, opt, again)
		}
	})
}

// sameFromElsewhere sets a flag in the environment and in a file.
func sameFromElsewhere(t *testing.T, file, name, value string, want *options, wantErr error) {
	check := func(where, file string) {
		flags, got := newFlags()
		_, err := configure(flags, file, nil)
		if nan := math.IsNaN(want.lossShare); (err != nil) != (wantErr != nil) || err == nil && !nan && !reflect.DeepEqual(got, want) {
			t.Fatalf("--%s=%q: %+v, %v; in %s %+v, %v", name, value, want, wantErr, where, got, err)
		}
	}
	if os.Setenv(envName(name), value) == nil { // there is no NUL in it
		defer os.Unsetenv(envName(name))
		check("the environment", "")
		os.Unsetenv(envName(name))
	}
	var text bytes.Buffer
	if !utf8.ValidString(value) || toml.NewEncoder(&text).Encode(map[string]string{name: value}) != nil {
		return
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a file", file)
}

// withinBounds: options that pass the check are ones to work with.
func withinBounds(t *testing.T, o *options) {
	if o.check() != nil {
		return
	}
	if o.mtu < 512 || o.mtu > 65507 || o.flush <= 0 || o.stats < 0 || !(o.lossShare >= 0 && o.lossShare <= 100) ||
		o.ring() <= 0 || o.interval < 0 || o.interval > 1<<31*time.Second {
		t.Fatalf("%+v", o)
	}
}

// FuzzConfig reads files in TOML. What is taken means the same when it is
// written again, and on the command line.
func FuzzConfig(f *testing.F) {
	cleanEnvironment(f)
	scripts, err := os.ReadFile("testdata/script/config.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, part := range strings.Split(string(scripts), "-- ")[1:] {
		_, text, _ := strings.Cut(part, " --\n")
		f.Add([]byte(text))
	}
	f.Add([]byte("interface = ['eth0', \"eth1+\"]\ncount = 0x10\nmirror = true\nwarn-loss = 0.5\nflush = \"1s\"\nlisten='::1/1..3'\n"))
	f.Add([]byte("warn-loss = nan\ninput = [[1], 2000-01-01]\n[socket]\na.b = {c = inf}\n[[socket]]\n"))
	file := filepath.Join(f.TempDir(), "sensor.toml")
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) (*options, []string, error) {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			flags, opt := newFlags()
			args, err := configure(flags, file, nil)
			return opt, args, err
		}
		guard.Memory(t, valueBase+valuePerByte*len(b), func() { read(b) })
		opt, args, err := read(b)
		if err != nil {
			if strings.Count(err.Error(), "\n") > strings.Count(string(b), "\n") {
				t.Fatalf("%v", err)
			}
			return
		}
		withinBounds(t, opt)
		if math.IsNaN(opt.lossShare) {
			return // it is equal to nothing
		}
		settings, err := readConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := toml.NewEncoder(&text).Encode(settings); err != nil {
			t.Fatalf("%v: %v", settings, err)
		}
		again, argsAgain, err := read(text.Bytes())
		if err != nil || !reflect.DeepEqual(opt, again) || !slices.Equal(args, argsAgain) {
			t.Fatalf("%+v, %v became %+v, %v, %v: %s", opt, args, again, argsAgain, err, &text)
		}
		typed, err := onCommandLine(settings)
		if err != nil || !reflect.DeepEqual(opt, typed) {
			t.Fatalf("%+v; on the command line %+v, %v", opt, typed, err)
		}
	})
}

// onCommandLine sets what a file does with arguments.
func onCommandLine(settings map[string]any) (*options, error) {
	flags, opt := newFlags()
	var args []string
	add := func(key string, value any) { args = append(args, fmt.Sprintf("--%s=%v", key, value)) }
	flags.VisitAll(func(f *pflag.Flag) { // in their order: the inputs are one list
		switch v := settings[f.Name].(type) {
		case nil:
		case []any:
			for _, one := range v {
				add(f.Name, one)
			}
		default:
			add(f.Name, v)
		}
	})
	return opt, flags.Parse(args)
}

// TestConfigTakesPlainValuesAlone: what is in a list is held to the same as what
// stands alone.
func TestConfigTakesPlainValuesAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sensor.toml")
	const plain = "must be a string, a number, a truth value or a list of these"
	for text, want := range map[string]string{
		"interface = ['eth0', 'eth1']":          "",
		"input = [1, 2.5, true, 'x']":           "",
		"interface = [['eth0']]":                "interface: " + plain,
		"interface = ['eth0', {name = 'eth1'}]": "interface: " + plain,
		"interface = [2000-01-01]":              "interface: " + plain,
		"interface = 2000-01-01":                "interface: " + plain,
		"input = [[1]]":                         "input: " + plain,
		"[[interface]]\nname = 'eth0'":          "interface: " + plain,
		"count = [1]":                           "count: takes one value, not a list",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags, _ := newFlags()
		_, err := configure(flags, file, nil)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != "config "+file+": "+want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
