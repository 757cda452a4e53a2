// Package kafkatest runs a real Apache Kafka for tests.
//
// [Start] gives a test a broker of its own, [Shared] one that all tests of a
// package share, [StartCluster] several nodes, and [StartOld] the oldest
// release that is supported. The jars come from Maven once and are then kept
// in the user's cache directory. A broker starts in about a second, answers on
// a free port of the loopback interface, and goes away with the test.
//
// Everything a test looks up or writes through a [Broker] goes through an
// independent Kafka client, not the one under test.
//
// Where Java or the jars are missing, a test is skipped with the reason. With
// KAFKAWS_REQUIRE_KAFKA=1 in the environment it fails instead.
package kafkatest
