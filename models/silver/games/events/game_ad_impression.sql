{#- One row per ad_impression event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('ad_impression', [
        {'name': 'placement', 'type': 'string', 'required_from': 1},
        {'name': 'network', 'type': 'string', 'required_from': 1},
        {'name': 'ecpm_usd', 'type': 'number', 'required_from': 1},
        {'name': 'completed', 'type': 'boolean'},
        {'name': 'clicked', 'type': 'boolean'},
    ])
}}
