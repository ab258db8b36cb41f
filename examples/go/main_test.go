package main

import (
	"reflect"
	"testing"
)

func TestFrequentWordsComeFirst(t *testing.T) {
	words, counts := Count("b a b")
	if !reflect.DeepEqual(words, []string{"b", "a"}) || counts["b"] != 2 {
		t.Fatal(words, counts)
	}
}
