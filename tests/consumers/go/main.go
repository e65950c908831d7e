// Command embed reads token ids and writes vectors, through onnxruntime_go.
//
//	embed LIBRARY GRAPH IDS OUT
//
// IDS has one text a line, its token ids apart by blanks. OUT gets float32 rows of length 1.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

const hidden = 384

// width is the sequence length of the prepared graph.
func width(graph string) (int, error) {
	inputs, _, err := ort.GetInputOutputInfo(graph)
	if err != nil {
		return 0, err
	}
	shape := inputs[0].Dimensions
	if len(shape) != 2 || shape[0] != 1 || shape[1] < 1 {
		return 0, fmt.Errorf("%s takes %v; a static graph takes (1, n)", graph, shape)
	}
	return int(shape[1]), nil
}

type encoder struct {
	session          *ort.AdvancedSession
	ids, mask, types *ort.Tensor[int64]
	states           *ort.Tensor[float32]
}

func open(graph string) (*encoder, error) {
	size, err := width(graph)
	if err != nil {
		return nil, err
	}
	made := &encoder{}
	shape := ort.NewShape(1, int64(size))
	for _, input := range []**ort.Tensor[int64]{&made.ids, &made.mask, &made.types} {
		if *input, err = ort.NewEmptyTensor[int64](shape); err != nil {
			return nil, err
		}
	}
	made.states, err = ort.NewEmptyTensor[float32](ort.NewShape(1, int64(size), hidden))
	if err != nil {
		return nil, err
	}
	made.session, err = ort.NewAdvancedSession(
		graph,
		[]string{"input_ids", "attention_mask", "token_type_ids"},
		[]string{"last_hidden_state"},
		[]ort.Value{made.ids, made.mask, made.types},
		[]ort.Value{made.states},
		nil,
	)
	return made, err
}

func (e *encoder) embed(tokens []int64) ([]float32, error) {
	if len(tokens) == 0 || len(tokens) > len(e.ids.GetData()) {
		return nil, fmt.Errorf("%d tokens do not fit the graph", len(tokens))
	}
	e.ids.ZeroContents()
	e.mask.ZeroContents()
	copy(e.ids.GetData(), tokens)
	for place := range tokens {
		e.mask.GetData()[place] = 1
	}
	if err := e.session.Run(); err != nil {
		return nil, err
	}
	mean := make([]float32, hidden)
	for place := range tokens {
		for column, value := range e.states.GetData()[place*hidden : (place+1)*hidden] {
			mean[column] += value
		}
	}
	var squares float64
	for column := range mean {
		mean[column] /= float32(len(tokens))
		squares += float64(mean[column]) * float64(mean[column])
	}
	// Before the norm: after it a row of NaN looks like any other.
	if math.IsNaN(squares) || math.IsInf(squares, 0) {
		return nil, errors.New("the model gave NaN or an infinity")
	}
	norm := float32(math.Max(math.Sqrt(squares), 1e-12))
	for column := range mean {
		mean[column] /= norm
	}
	return mean, nil
}

func work(library, graph, from, to string) error {
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("%s: %w (this module is for the C API 21, ONNX Runtime 1.21 or newer)", library, err)
	}
	defer ort.DestroyEnvironment()
	fmt.Println("ONNX Runtime", ort.GetVersion())
	made, err := open(graph)
	if err != nil {
		return err
	}
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	var out bytes.Buffer
	lines := bufio.NewScanner(file)
	for row := 0; lines.Scan(); row++ {
		var tokens []int64
		for _, word := range strings.Fields(lines.Text()) {
			token, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return err
			}
			tokens = append(tokens, token)
		}
		vector, err := made.embed(tokens)
		if err != nil {
			return fmt.Errorf("text %d: %w", row, err)
		}
		if err := binary.Write(&out, binary.LittleEndian, vector); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o600)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: embed LIBRARY GRAPH IDS OUT")
		os.Exit(2)
	}
	if err := work(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
