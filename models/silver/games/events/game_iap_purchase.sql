{#- One row per iap_purchase event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('iap_purchase', [
        {'name': 'transaction_id', 'type': 'string', 'required_from': 1},
        {'name': 'sku', 'type': 'string', 'required_from': 1},
        {'name': 'amount_minor', 'type': 'integer', 'required_from': 1},
        {'name': 'currency', 'type': 'string', 'required_from': 1},
        {'name': 'receipt_valid', 'type': 'boolean'},
        {'name': 'offer_id', 'type': 'string'},
    ])
}}
