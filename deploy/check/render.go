// Renders a Helm chart as far as this chart needs it: text/template with sprig's functions, `include`, .Values of
// values.yaml with `--set`-like changes, .Chart and .Release. It stands in where helm itself is not to be had.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run render.go CHART RELEASE [values-file]
//
// Debian's golang-github-masterminds-sprig-dev and golang-gopkg-yaml.v3-dev bring what it imports.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

func read(path string, into interface{}) {
	content, err := os.ReadFile(path)
	stop(err)
	stop(yaml.Unmarshal(content, into))
}

func stop(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

// merge puts changes over values, maps into maps, as Helm does with -f.
func merge(values, changes map[string]interface{}) {
	for name, change := range changes {
		below, isMap := change.(map[string]interface{})
		if old, wasMap := values[name].(map[string]interface{}); isMap && wasMap {
			merge(old, below)
		} else {
			values[name] = change
		}
	}
}

func main() {
	chart, release := os.Args[1], os.Args[2]
	about, values := map[string]interface{}{}, map[string]interface{}{}
	read(filepath.Join(chart, "Chart.yaml"), &about)
	read(filepath.Join(chart, "values.yaml"), &values)
	if len(os.Args) > 3 {
		changes := map[string]interface{}{}
		read(os.Args[3], &changes)
		merge(values, changes)
	}
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   map[string]interface{}{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": map[string]interface{}{"Name": release, "Service": "Helm", "Namespace": "default"},
	}
	all := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	functions["include"] = func(name string, given interface{}) (string, error) {
		out := strings.Builder{}
		err := all.ExecuteTemplate(&out, name, given)
		return out.String(), err
	}
	all.Funcs(functions)
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	stop(err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		stop(err)
		_, err = all.New(filepath.Base(file)).Parse(string(content))
		stop(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".yaml") {
			fmt.Println("---")
			stop(all.ExecuteTemplate(os.Stdout, filepath.Base(file), data))
		}
	}
}
