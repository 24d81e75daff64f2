{#- One row per app_install event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('app_install', [
        {'name': 'network', 'type': 'string', 'required_from': 1},
        {'name': 'campaign', 'type': 'string'},
        {'name': 'creative', 'type': 'string'},
        {'name': 'cost_minor', 'type': 'integer'},
        {'name': 'currency', 'type': 'string'},
    ])
}}
