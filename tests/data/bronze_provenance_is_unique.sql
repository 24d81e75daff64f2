{#- Guards "nothing twice": no record stands twice in its bronze table, whatever was delivered
    again or replayed. The key is each source's declared grain. -#}
with

bronze_provenance_is_unique as (

    select
        feed,
        item as provenance,
        count(*) as records
    from {{ source('bronze_loaders', 'ledger') }}
    where false
    group by feed, item
    {%- for feed in bronze_feeds() %}
    union all
    select
        '{{ feed.name }}' as feed,
        concat_ws(' ', {{ feed.key | join(', ') }}) as provenance,
        count(*) as records
    from {{ feed.relation }}
    group by {{ feed.key | join(', ') }}
    having count(*) > 1
    {%- endfor %}

)

select * from bronze_provenance_is_unique
