package api

import (
	"context"

	"github.com/idpsync/idpsync/store/identity"
)

type operatorKey struct{}

// AsOperator returns a context whose requests are made by whoever runs this program where its database is: they may do
// everything, and what they do is written down as actor's. No request from the network has such a context.
func AsOperator(ctx context.Context, actor identity.Actor) context.Context {
	return context.WithValue(ctx, operatorKey{}, actor)
}

// operatorOf returns who runs the program here, nil for a request from the network.
func operatorOf(ctx context.Context) *caller {
	actor, ok := ctx.Value(operatorKey{}).(identity.Actor)
	if !ok {
		return nil
	}
	return &caller{actor: actor, userName: actor.Name, level: needAdmin, operator: true}
}
