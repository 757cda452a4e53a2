// Fetch puts the releases of Apache Kafka that tests run against in the user's
// cache, so that no test has to wait for them.
package main

import (
	"fmt"
	"os"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

func main() {
	dirs, err := kafkatest.Install()
	for _, dir := range dirs {
		fmt.Println(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
