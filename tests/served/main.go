// A service that allocates, waits for a lock and works, each in a function of its own, and serves its
// profiles as net/http/pprof does. Prints where it listens; ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"sync"
	"time"
)

// Bytes that render takes for one response.
const reportBytes = 64 << 10

var (
	kept [16][]byte
	turn int
	lock sync.Mutex
)

func render() []byte {
	report := make([]byte, reportBytes) // the line that allocates
	report[0] = 1
	return report
}

func burn(rounds int) (sum uint64) {
	for i := 0; i < rounds; i++ {
		sum = sum*6364136223846793005 + 1442695040888963407
	}
	return sum
}

func store(report []byte) {
	lock.Lock()
	defer lock.Unlock()
	kept[turn%len(kept)] = report
	turn++
	time.Sleep(200 * time.Microsecond)
}

func work(w http.ResponseWriter, _ *http.Request) {
	store(render())
	fmt.Fprintln(w, burn(200_000))
}

func main() {
	runtime.MemProfileRate = 16 << 10
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	http.HandleFunc("/work", work)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	panic(http.Serve(listener, nil))
}
