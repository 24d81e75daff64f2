{#- One row per offer_shown event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('offer_shown', [
        {'name': 'offer_id', 'type': 'string', 'required_from': 1},
        {'name': 'offer_name', 'type': 'string', 'required_from': 1},
        {'name': 'sku', 'type': 'string', 'required_from': 1},
        {'name': 'segment', 'type': 'string'},
        {'name': 'variant', 'type': 'string'},
        {'name': 'price_minor', 'type': 'integer', 'required_from': 1},
        {'name': 'currency', 'type': 'string', 'required_from': 1},
        {'name': 'config_version', 'type': 'string'},
    ])
}}
