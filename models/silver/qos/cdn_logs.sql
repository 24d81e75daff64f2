{#- One row per request that the CDN logged, however often it was delivered: located by its whole
    address, of which only the network is kept. -#}
{%- set key = ['logdate', 'requestid'] -%}
{%- set delivery_order = ['_modified_at', '_bucket', '_key', '_version', '_ordinal'] -%}
{{
    config(
        unique_key = key,
        prune_by = 'logdate',
        latest_by = delivery_order,
        clustered_by = ['logdate', 'requestid']
    )
}}

with

requests_delivered as (

    select *
    from {{ ref('cdn_logs_parsed') }}
    where {{ is_new('_batch_id') }}

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by {{ key | join(', ') }}) as _newest_batch_id,
        row_number() over (
            partition by {{ key | join(', ') }}
            order by {{ delivery_order | join(' desc, ') }} desc
        ) as delivery_rank
    from requests_delivered

),

requests as (

    select *
    from ranked_deliveries
    where delivery_rank = 1

),

addresses as (

    select distinct
        ip_key,
        logdate as valid_on
    from requests
    where ip_kind = 'public'

),

countries as (

    {{ ip_lookup('addresses', 'country') }}

),

networks as (

    {{ ip_lookup('addresses', 'asn') }}

),

country_codes as (

    select
        alpha_2,
        alpha_3
    from {{ ref('country_codes') }}

),

known_networks as (

    select
        as_number,
        isp,
        is_hosting
    from {{ ref('networks') }}

),

cdn_logs as (

    select
        requests.browserfamily,
        requests.bytes,
        requests.cdn_source,
        requests.isbot,
        coalesce(country_codes.alpha_3, 'Unavailable') as origin,
        requests.location,
        requests.logdate,
        requests.logtime,
        requests.osfamily,
        requests.requestid,
        requests.ip,
        requests.resulttype,
        year(requests.logdate) as year,
        month(requests.logdate) as month,
        day(requests.logdate) as day,
        hour(requests.requested_at) as hour,
        requests.requested_at,
        requests.sent_bytes,
        requests.status,
        requests.time_taken_s,
        requests.first_byte_s,
        requests.origin_first_byte_s,
        requests.uri,
        requests.video_id,
        requests.response_result_type,
        requests.detailed_result_type,
        requests.is_client_abort,
        requests.distribution,
        coalesce(known_networks.isp, networks.organisation, 'Unavailable') as isp,
        networks.as_number,
        coalesce(known_networks.is_hosting, false) as is_hosting,
        requests.ip_kind,
        requests.flags,
        requests._bucket,
        requests._key,
        requests._version,
        requests._ordinal,
        requests._modified_at,
        requests._newest_batch_id as _batch_id
    from requests
    left outer join countries
        on
            requests.ip_key = countries.ip_key
            and requests.logdate = countries.valid_on
    left outer join networks
        on
            requests.ip_key = networks.ip_key
            and requests.logdate = networks.valid_on
    left outer join country_codes
        on countries.country_code = country_codes.alpha_2
    left outer join known_networks
        on networks.as_number = known_networks.as_number

)

select * from cdn_logs
