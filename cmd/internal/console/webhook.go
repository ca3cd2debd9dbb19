package console

import (
	"net/http"
	"strconv"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerWebhooks registers the pages of who receives events.
func (c *Console) registerWebhooks(mux *http.ServeMux) {
	c.get(mux, "/settings/webhooks", c.webhooks)
	c.post(mux, "/settings/webhooks/test", levelOperator, c.testWebhook)
	c.post(mux, "/settings/webhooks/enable", levelAdmin, c.enableWebhook)
	c.post(mux, "/settings/webhooks/redeliver", levelOperator, c.redeliver)
}

// webhooksPage lists who receives events, and what was sent to them.
type webhooksPage struct {
	Endpoints  []api.WebhookEndpoint
	Deliveries []api.Delivery
	Endpoint   string // filters
	State      string
	Event      string
	States     []option
	Full       bool // there may be more deliveries
	Tested     string
	Result     api.WebhookTest
}

var deliveryStates = []option{{"waiting", "Waiting"}, {"delivered", "Delivered"}, {"failed", "Given up"}}

const deliveriesOnPage = 100

func (c *Console) webhooks(q *request) (*view, error) {
	return c.webhooksView(q, "", api.WebhookTest{}, nil)
}

func (c *Console) webhooksView(q *request, tested string, result api.WebhookTest, problem *api.Problem) (*view, error) {
	endpoints, err := fetch[api.Page[api.WebhookEndpoint]](q, "/webhooks", nil)
	if err != nil {
		return nil, err
	}
	page := webhooksPage{
		Endpoints: endpoints.Items, Endpoint: q.Query("endpoint"), State: q.Query("state"), Event: q.Query("event"), States: deliveryStates,
		Tested: tested, Result: result,
	}
	query := q.given("endpoint", "state", "event")
	query.Set("limit", strconv.Itoa(deliveriesOnPage))
	deliveries, err := fetch[api.Page[api.Delivery]](q, "/webhooks/deliveries", query)
	if refused := asProblem(err); refused != nil && problem == nil {
		problem, err = refused, nil
	}
	if err != nil {
		return nil, err
	}
	page.Deliveries, page.Full = deliveries.Items, len(deliveries.Items) >= deliveriesOnPage
	return setting("webhooks", "/settings/webhooks", "Webhooks", page, problem), nil
}

func (c *Console) testWebhook(q *request) (string, *view, error) {
	result, err := call[api.WebhookTest](q, http.MethodPost, "/webhooks/test", nil, map[string]any{"name": q.Form("endpoint")})
	problem := asProblem(err)
	if err != nil && problem == nil {
		return "", nil, err
	}
	v, err := c.webhooksView(q, q.Form("endpoint"), result, problem)
	return "", v, err
}

func (c *Console) enableWebhook(q *request) (string, *view, error) {
	enabled, err := call[api.WebhookEnabled](q, http.MethodPost, "/webhooks/enable", nil, map[string]any{"name": q.Form("endpoint")})
	if problem := asProblem(err); problem != nil {
		v, err := c.webhooksView(q, "", api.WebhookTest{}, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify(enabled.Name + " receives what happens from now on.")
	return "/settings/webhooks", nil, nil
}

func (c *Console) redeliver(q *request) (string, *view, error) {
	body := map[string]any{"event_id": q.Form("event_id")}
	if endpoint := q.Form("endpoint"); endpoint != "" {
		body["endpoint"] = endpoint
	}
	again, err := call[api.Redelivery](q, http.MethodPost, "/webhooks/redeliver", nil, body)
	if problem := asProblem(err); problem != nil {
		v, err := c.webhooksView(q, "", api.WebhookTest{}, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify("The event is delivered again, to " + plural(len(again.Endpoints), "endpoint") + ".")
	return "/settings/webhooks", nil, nil
}
