// Package webhook delivers the outbox to those who want to hear of it, as Standard Webhooks
// (https://www.standardwebhooks.com): signed, at least once, and the events of one object in their order.
//
// A Sender sends one message. A Deliverer takes events from the outbox, gives them to the endpoints that want them and
// sends them until they are delivered or given up; of all replicas, one does so at a time. docs/webhooks.md tells receivers
// what they get.
package webhook
