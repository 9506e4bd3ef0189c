"""Money: services, the ledger, the gateway that meters every call to a model, prices, forecast, alerts."""
