{#- One row per iap_refund event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('iap_refund', [
        {'name': 'transaction_id', 'type': 'string', 'required_from': 1},
        {'name': 'amount_minor', 'type': 'integer', 'required_from': 1},
        {'name': 'currency', 'type': 'string', 'required_from': 1},
    ])
}}
